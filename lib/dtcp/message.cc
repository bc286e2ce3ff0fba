#include "lib/dtcp/message.h"

#include "lib/dtcp/framing.h"
#include "lib/dtcp/line.h"
#include "lib/dtcp/value.h"

#include <algorithm>
#include <charconv>
#include <initializer_list>
#include <limits>

namespace flowtap::lib::dtcp {
namespace {

constexpr std::array<std::string_view, 8> methods{"ADD",  "DELETE", "REFRESH", "LIST",
                                                  "NOOP", "ENABLE", "DISABLE", ""};

Method find_method(std::string_view text) {
    for (std::size_t i = 0; i + 1 < methods.size(); ++i) {
        if (equal_ignoring_case(text, methods[i])) {
            return static_cast<Method>(i);
        }
    }
    return Method::unknown;
}

using NameSet = std::uint64_t;
static_assert(name_count < std::numeric_limits<NameSet>::digits);

constexpr NameSet name_set(std::initializer_list<Name> names) {
    NameSet set = 0;
    for (const Name name : names) {
        set |= NameSet{1} << static_cast<unsigned>(name);
    }
    return set;
}

/// The parameters that each method takes, besides Authentication-Info (dtcp.md section 5).
constexpr NameSet taken_by(Method method) {
    constexpr NameSet always = name_set({Name::csource_id, Name::seq});
    constexpr NameSet selector = name_set({Name::criteria_id, Name::cdest_id});
    constexpr NameSet timeouts =
        name_set({Name::timeout_idle, Name::timeout_total, Name::timeout_packets, Name::timeout_bytes});
    constexpr NameSet flags = name_set({Name::flags});
    switch (method) {
        case Method::add:
            return always | timeouts | flags |
                   name_set({Name::cdest_id,
                             Name::priority,
                             Name::action,
                             Name::source_address,
                             Name::dest_address,
                             Name::protocol,
                             Name::source_port,
                             Name::dest_port,
                             Name::icmp_type,
                             Name::icmp_code,
                             Name::jtap_cdest_dest_address,
                             Name::jtap_cdest_dest_port,
                             Name::jtap_cdest_source_address,
                             Name::jtap_cdest_source_port,
                             Name::jtap_cdest_ttl,
                             Name::jtap_vrf_name,
                             Name::jtap_input_interface,
                             Name::jtap_output_interface,
                             Name::jtap_ip_version,
                             Name::jtap_filter_family,
                             Name::md_intercept_id,
                             Name::interface_id,
                             Name::user_name,
                             Name::act_sess_id,
                             Name::ip_addr});
        case Method::delete_:
        case Method::list:
            return always | selector | flags;
        case Method::refresh:
            return always | selector | timeouts;
        case Method::noop:
            return always | flags;
        case Method::enable:
        case Method::disable:
            return always | flags | name_set({Name::criteria_id, Name::drop_policy});
        case Method::unknown:
            break;
    }
    return ~NameSet{0};  // the method is what is wrong, not its parameters
}

constexpr bool is_extension(std::string_view name) {
    return name.size() >= 2 && (name[0] == 'X' || name[0] == 'x') && name[1] == '-';
}

}  // namespace

std::string to_string(Version version) {
    return "DTCP/" + std::to_string(version.major) + "." + std::to_string(version.minor);
}

std::string_view to_string(Method method) {
    return methods[static_cast<std::size_t>(method)];
}

const Parameter* Request::find(std::string_view name) const {
    if (const Name id = find_name(name); id != Name::unknown) {
        return find(id);
    }
    const auto found = std::ranges::find_if(parameters(), [name](const Parameter& parameter) {
        return equal_ignoring_case(parameter.name, name);
    });
    return found == parameters().end() ? nullptr : &*found;
}

class RequestParser {
  public:
    RequestParser(std::string_view raw, Request& request) : raw_{raw}, rest_{raw}, request_{request} {}

    void parse() {
        if (raw_.size() > max_message) {
            note(Code::bad_request, {}, "message longer than 64 KiB");
        } else {
            request_.signed_bytes_ = raw_;
            if (parse_request_line()) {
                parse_parameters();
            }
        }
        if (failed_) {
            request_.failure_ = Failure{code_, std::string{line_}, reason_};
        }
    }

  private:
    /// Whether lines may follow.
    bool parse_request_line() {
        const Line line = take_line(rest_);
        request_.request_line_ = line.text;
        if (!line.ended || line.text.empty()) {
            note(Code::bad_request, line.text, "no request line");
            return false;
        }
        auto rest = line.text;
        const auto method = take_word(rest);
        const auto version = parse_version(rest);
        if (method.empty() || !version || !is_text(line.text)) {
            note(Code::bad_request, line.text, "not a request line");
            return true;
        }
        request_.method_text_ = method;
        request_.method_ = find_method(method);
        request_.version_ = *version;
        if (*version < version_0_5 || *version > version_0_8) {
            note(Code::version_not_supported, line.text, "version not supported");
        } else if (request_.method_ == Method::unknown) {
            note(Code::not_implemented, line.text, "unknown method");
        }
        return true;
    }

    void parse_parameters() {
        const NameSet taken = taken_by(request_.method_);
        for (;;) {
            const std::string_view from_here = rest_;
            const Line line = take_line(rest_);
            if (!line.ended) {
                note(Code::bad_request, {}, "no empty line at the end");
                return;
            }
            if (line.text.empty()) {
                return;
            }
            const auto parameter = split_parameter(line.text);
            if (parameter && parameter->id == Name::authentication_info) {
                request_.authentication_info_ = parameter->value;
                request_.signed_bytes_ =
                    raw_.substr(0, static_cast<std::size_t>(from_here.data() - raw_.data()));
                skip_to_the_end();
                return;
            }
            if (!parameter || !is_text(line.text)) {
                note(Code::bad_request, line.text, "not a parameter line");
            } else {
                keep(*parameter, taken);
            }
        }
    }

    void keep(const Parameter& parameter, NameSet taken) {
        if (request_.count_ == max_parameters) {
            note(Code::bad_request, parameter.line, "more than 64 parameters");
            return;
        }
        const auto place = static_cast<std::uint8_t>(request_.count_);
        request_.parameters_[place] = parameter;
        ++request_.count_;
        auto& first = request_.first_[static_cast<std::size_t>(parameter.id)];
        if (first == Request::absent) {
            first = place;
        }
        const bool known = parameter.id != Name::unknown;
        if (known && (taken >> static_cast<unsigned>(parameter.id) & 1) != 0) {
            return;
        }
        if (is_extension(parameter.name)) {
            ++request_.ignored_;
        } else {
            note(Code::not_implemented, parameter.line,
                 known ? "parameter that the method does not take" : "unknown parameter");
        }
    }

    /// What follows Authentication-Info is ignored, but the message has to end.
    void skip_to_the_end() {
        for (;;) {
            const Line line = take_line(rest_);
            if (!line.ended) {
                note(Code::bad_request, {}, "no empty line at the end");
                return;
            }
            if (line.text.empty()) {
                return;
            }
        }
    }

    /// Keeps the first failure, but 400 before 501; 505 can only be the first. The line is copied once, at
    /// the end.
    void note(Code code, std::string_view line, std::string_view reason) {
        if (!failed_ || (code == Code::bad_request && code_ == Code::not_implemented)) {
            failed_ = true;
            code_ = code;
            line_ = line;
            reason_ = reason;
        }
    }

    std::string_view raw_;
    std::string_view rest_;
    Request& request_;
    bool failed_ = false;
    Code code_ = Code::ok;
    std::string_view line_;
    std::string_view reason_;
};

Request parse_request(std::string_view raw) {
    Request request;
    RequestParser{raw, request}.parse();
    return request;
}

std::expected<Envelope, Failure> parse_envelope(const Request& request) {
    const Parameter* const csource = request.find(Name::csource_id);
    if (csource == nullptr) {
        return fail(Code::bad_request, nullptr, "no Csource-ID");
    }
    auto id = parse_identifier(csource->value);
    if (!id) {
        return fail(Code::bad_request, csource, "not an identifier");
    }
    const Parameter* const seq = request.find(Name::seq);
    if (seq == nullptr) {
        return fail(Code::bad_request, nullptr, "no Seq");
    }
    const auto number = parse_number(seq->value, std::numeric_limits<std::uint64_t>::max());
    if (!number) {
        return fail(Code::bad_request, seq, "not a sequence number of 64 bits");
    }
    return Envelope{std::move(*id), *number};
}

}  // namespace flowtap::lib::dtcp
