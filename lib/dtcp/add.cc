#include "lib/dtcp/add.h"

#include "lib/dtcp/filter.h"
#include "lib/dtcp/jtap.h"
#include "lib/dtcp/options.h"
#include "lib/dtcp/value.h"

#include <algorithm>
#include <array>
#include <utility>

namespace flowtap::lib::dtcp {
namespace {

class AddParser {
  public:
    explicit AddParser(const Request& request) : request_{request} {}

    std::expected<AddRequest, Failure> parse() {
        if (cdest_ids() && options() && timeouts() && filter()) {
            auto done = parse_jtap(request_, add_);
            if (done) {
                repeat_for_list();
                return std::move(add_);
            }
            failure_ = std::move(done.error());
        }
        return std::unexpected(std::move(*failure_));
    }

  private:
    bool refuse(Code code, const Parameter* parameter, std::string_view reason) {
        failure_ = fail(code, parameter, reason).error();
        return false;
    }

    bool refuse(Failure failure) {
        failure_ = std::move(failure);
        return false;
    }

    bool cdest_ids() {
        const Parameter* const parameter = request_.find(Name::cdest_id);
        if (parameter == nullptr) {
            return refuse(Code::bad_request, nullptr, "no Cdest-ID");
        }
        if (count_entries(parameter->value) > max_cdests) {
            return refuse(Code::too_many_cdests, parameter, "more than 16 content destinations");
        }
        const auto entries = split_entries(parameter->value);
        add_.cdests.reserve(entries.size());
        for (const auto entry : entries) {
            auto id = parse_identifier(entry);
            if (!id) {
                return refuse(Code::bad_request, parameter, "not a list of identifiers");
            }
            if (std::ranges::find(add_.cdests, *id, &Cdest::id) != add_.cdests.end()) {
                return refuse(Code::bad_request, parameter, "a content destination twice");
            }
            add_.cdests.emplace_back().id = std::move(*id);
        }
        add_.cdest_ids = parameter->value;
        return true;
    }

    bool options() {
        const auto flags = parse_flags(request_, {Flag::static_, Flag::send_async});
        if (!flags) {
            return refuse(flags.error());
        }
        add_.is_static = flags->has(Flag::static_);
        add_.send_async = flags->has(Flag::send_async);
        if (const Parameter* const parameter = request_.find(Name::priority); parameter != nullptr) {
            const auto priority = parse_number<std::uint8_t>(parameter->value, 255);
            if (!priority || *priority == 0) {
                return refuse(Code::bad_request, parameter, "not a priority: 1 to 255 are");
            }
            add_.priority = *priority;
        }
        if (const Parameter* const parameter = request_.find(Name::action); parameter != nullptr) {
            if (equal_ignoring_case(parameter->value, "copy")) {
                add_.action = Action::copy;
            } else if (equal_ignoring_case(parameter->value, "redirect")) {
                add_.action = Action::redirect;
            } else if (equal_ignoring_case(parameter->value, "block")) {
                add_.action = Action::block;
            } else {
                return refuse(Code::not_implemented, parameter, "unknown action");
            }
            add_.action_line = parameter->line;
        }
        return true;
    }

    bool timeouts() {
        if (add_.is_static) {
            return true;
        }
        const auto timeouts = parse_timeouts(request_);
        if (!timeouts) {
            return refuse(timeouts.error());
        }
        add_.timeouts = *timeouts;
        if (timeouts->idle.value_or(0) == 0 && timeouts->total.value_or(0) == 0 &&
            timeouts->packets.value_or(0) == 0 && timeouts->bytes.value_or(0) == 0) {
            return refuse(Code::improper_timeout, find_timeout(request_),
                          "neither a timeout other than zero nor Static");
        }
        return true;
    }

    bool filter() {
        auto criterion = parse_filter(request_);
        if (!criterion) {
            return refuse(std::move(criterion.error()));
        }
        add_.criterion = std::move(*criterion);
        return true;
    }

    void repeat_for_list() {
        constexpr std::array others{Name::priority,
                                    Name::action,
                                    Name::flags,
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
                                    Name::interface_id,
                                    Name::ip_addr,
                                    Name::md_intercept_id};
        for (const Name name : filter_elements) {
            repeat(name, add_.given_filter);
        }
        for (const Name name : others) {
            repeat(name, add_.given);
        }
    }

    void repeat(Name name, std::string& given) {
        if (const Parameter* const parameter = request_.find(name); parameter != nullptr) {
            given += to_string(name);
            given += ": ";
            given += parameter->value;
            given += "\r\n";
        }
    }

    const Request& request_;
    AddRequest add_;
    std::optional<Failure> failure_;
};

}  // namespace

std::expected<AddRequest, Failure> parse_add(const Request& request) {
    if (request.failure()) {
        return std::unexpected(*request.failure());
    }
    return AddParser{request}.parse();
}

}  // namespace flowtap::lib::dtcp
