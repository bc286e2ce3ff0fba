#include "lib/dtcp/jtap.h"

#include "lib/dtcp/options.h"
#include "lib/dtcp/value.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <functional>
#include <limits>
#include <utility>

namespace flowtap::lib::dtcp {
namespace {

constexpr std::uint16_t largest_unit = 4094;

/// "xe-0/0/0.100"; without ".UNIT" unit 0. Nothing where the unit is out of range.
std::optional<InterfaceName> parse_interface(std::string_view entry) {
    auto name = parse_identifier(entry);
    if (!name) {
        return std::nullopt;
    }
    const auto dot = name->rfind('.');
    const auto digits =
        dot == std::string::npos ? std::string_view{} : std::string_view{*name}.substr(dot + 1);
    const bool has_unit = dot != 0 && !digits.empty() && std::ranges::all_of(digits, [](char digit) {
                              return digit >= '0' && digit <= '9';
                          });
    if (!has_unit) {
        return InterfaceName{std::move(*name), 0};
    }
    const auto unit = parse_number(digits, largest_unit);
    if (!unit) {
        return std::nullopt;
    }
    return InterfaceName{name->substr(0, dot), *unit};
}

std::optional<InterceptId> parse_intercept_id(std::string_view value) {
    std::string storage;
    const auto text = plain(value, storage);
    if (!text) {
        return std::nullopt;
    }
    const bool prefixed = text->starts_with("0x") || text->starts_with("0X");
    const auto digits = text->substr(prefixed ? 2 : 0);
    InterceptId id{.value = 0, .short_form = digits.size() <= 8};
    const char* const end = digits.data() + digits.size();
    const auto [stop, error] = std::from_chars(digits.data(), end, id.value, 16);
    if (error != std::errc{} || stop != end) {
        return std::nullopt;
    }
    return id;
}

class JtapParser {
  public:
    JtapParser(const Request& request, AddRequest& add) : request_{request}, add_{add} {}

    std::expected<void, Failure> parse() {
        if (places() && layer2() && destinations() && triggers()) {
            return {};
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

    bool places() {
        const Parameter* const vrf = request_.find(Name::jtap_vrf_name);
        const Parameter* const input = request_.find(Name::jtap_input_interface);
        const Parameter* const output = request_.find(Name::jtap_output_interface);
        const int given = (vrf != nullptr) + (input != nullptr) + (output != nullptr);
        if (given > 1) {
            return refuse(Code::improper_filter, std::max({vrf, input, output}, std::less<>{}),
                          "more than one of VRF, input and output interface");
        }
        if (vrf != nullptr) {
            auto name = parse_name(*vrf);
            if (!name) {
                return refuse(std::move(name.error()));
            }
            add_.vrf = std::move(*name);
            add_.place_line = vrf->line;
        }
        const Parameter* const interfaces = input != nullptr ? input : output;
        if (interfaces == nullptr) {
            return true;
        }
        if (count_entries(interfaces->value) > max_interfaces) {
            return refuse(Code::bad_request, interfaces, "more than 8 interfaces");
        }
        add_.interface_direction = input != nullptr ? InterfaceDirection::input : InterfaceDirection::output;
        add_.place_line = interfaces->line;
        for (const auto entry : split_entries(interfaces->value)) {
            auto name = parse_interface(entry);
            if (!name) {
                return refuse(Code::bad_request, interfaces, "not a list of interfaces");
            }
            add_.interfaces.push_back(std::move(*name));
        }
        return true;
    }

    bool layer2() {
        const Parameter* const family = request_.find(Name::jtap_filter_family);
        if (family == nullptr) {
            return true;
        }
        if (request_.version() < version_0_8 || !equal_ignoring_case(family->value, "ccc")) {
            return refuse(Code::not_implemented, family, "not ccc, or a version before 0.8");
        }
        // Real clients write `Protocol: *` beside it. A list with more in it means something else than ccc.
        for (const Name name : filter_elements) {
            if (const Parameter* const element = request_.find(name);
                element != nullptr && element->value != "*") {
                return refuse(Code::improper_filter, element, "a filter element with family ccc");
            }
        }
        if (const Parameter* const address = request_.find(Name::ip_addr); address != nullptr) {
            return refuse(Code::improper_filter, address, "an address with family ccc");
        }
        if (add_.interfaces.empty()) {
            return refuse(Code::jtap_failure, family, "family ccc without an interface");
        }
        add_.layer2 = true;
        return true;
    }

    /// Gives each content destination its entry of a list; a list of one goes to all where `one_for_all`.
    template <typename Assign>
    bool distribute(Name name, bool one_for_all, Assign assign) {
        const Parameter* const parameter = request_.find(name);
        if (parameter == nullptr) {
            return true;
        }
        const std::size_t count = count_entries(parameter->value);
        if (count != add_.cdests.size() && !(one_for_all && count == 1)) {
            return refuse(Code::improper_filter, parameter, "not one entry for each content destination");
        }
        const auto entries = split_entries(parameter->value);
        for (std::size_t i = 0; i < add_.cdests.size(); ++i) {
            if (!assign(add_.cdests[i], entries[count == 1 ? 0 : i])) {
                return refuse(Code::bad_request, parameter, "not an address or number, or out of range");
            }
        }
        return true;
    }

    template <typename Number>
    static bool take(std::optional<Number>& field, std::string_view entry, Number smallest) {
        field = parse_number(entry, std::numeric_limits<Number>::max());
        return field && *field >= smallest;
    }

    bool destinations() {
        return distribute(Name::jtap_cdest_dest_address, false,
                          [](Cdest& cdest, std::string_view entry) {
                              cdest.dest_address = parse_ip(entry);
                              return cdest.dest_address.has_value();
                          }) &&
               distribute(Name::jtap_cdest_dest_port, false,
                          [](Cdest& cdest, std::string_view entry) {
                              return take<std::uint16_t>(cdest.dest_port, entry, 1);
                          }) &&
               distribute(Name::jtap_cdest_source_address, true,
                          [](Cdest& cdest, std::string_view entry) {
                              cdest.source_address = parse_ip(entry);
                              return cdest.source_address.has_value();
                          }) &&
               distribute(Name::jtap_cdest_source_port, true,
                          [](Cdest& cdest, std::string_view entry) {
                              return take<std::uint16_t>(cdest.source_port, entry, 0);
                          }) &&
               distribute(Name::jtap_cdest_ttl, true,
                          [](Cdest& cdest, std::string_view entry) {
                              return take<std::uint8_t>(cdest.ttl, entry, 1);
                          }) &&
               check_families();
    }

    bool check_families() {
        for (const Cdest& cdest : add_.cdests) {
            const auto& to = cdest.dest_address;
            const auto& from = cdest.source_address;
            if (to && from && to->family != from->family) {
                return refuse(Code::jtap_failure, request_.find(Name::jtap_cdest_source_address),
                              "source and destination of different families");
            }
            const bool old = request_.version() < version_0_7;
            if (old && to && to->family == Family::ipv6) {
                return refuse(Code::jtap_failure, request_.find(Name::jtap_cdest_dest_address),
                              "IPv6 in a version that has none");
            }
            if (old && from && from->family == Family::ipv6) {
                return refuse(Code::jtap_failure, request_.find(Name::jtap_cdest_source_address),
                              "IPv6 in a version that has none");
            }
        }
        return true;
    }

    bool triggers() {
        for (const Name name : {Name::user_name, Name::act_sess_id}) {
            if (const Parameter* const parameter = request_.find(name); parameter != nullptr) {
                return refuse(Code::not_implemented, parameter, "a trigger that this box cannot follow");
            }
        }
        if (const Parameter* const parameter = request_.find(Name::md_intercept_id); parameter != nullptr) {
            add_.intercept_id = parse_intercept_id(parameter->value);
            if (!add_.intercept_id) {
                return refuse(Code::bad_request, parameter, "not an intercept id: up to 16 hex digits are");
            }
        }
        if (const Parameter* const parameter = request_.find(Name::interface_id); parameter != nullptr) {
            auto name = parse_name(*parameter);
            if (!name) {
                return refuse(std::move(name.error()));
            }
            add_.subscriber_interface = std::move(*name);
        }
        if (const Parameter* const parameter = request_.find(Name::ip_addr); parameter != nullptr) {
            add_.subscriber_address = parse_ip(parameter->value);
        }
        return true;
    }

    const Request& request_;
    AddRequest& add_;
    std::optional<Failure> failure_;
};

}  // namespace

std::expected<void, Failure> parse_jtap(const Request& request, AddRequest& add) {
    return JtapParser{request, add}.parse();
}

}  // namespace flowtap::lib::dtcp
