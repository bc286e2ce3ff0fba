// ENABLE and DISABLE of drop policies (dtcp.md section 5).
#include "test/unit/control/dialogue.h"

namespace flowtap::test {

namespace {

std::string policy(std::string_view method, std::uint64_t id, std::string_view name,
                   bool with_static = true) {
    const auto criteria = fmt::format("Criteria-ID: {}", id);
    const auto line = fmt::format("X-Drop-Policy: {}", name);
    return with_static ? request(method, {criteria, line, "Flags: Static"})
                       : request(method, {criteria, line});
}

}  // namespace

TEST_CASE("ENABLE makes the taps leave out what the policy matches, DISABLE copy it again; others stay",
          "[dtcp:5.policy-suppresses][dtcp:5.policy-answer]") {
    Box box;
    const auto id = add(box);
    const auto other = add(box);
    CHECK(count_of(one(box.ask(policy("ENABLE", id, "web")))) == 1);
    CHECK(box.service_of(id).suppressed == 1);
    CHECK(box.service_of(other).suppressed == 0);
    CHECK(count_of(one(box.ask(policy("ENABLE", id, "v6")))) == 1);
    CHECK(box.service_of(id).suppressed == 5);
    CHECK(count_of(one(box.ask(policy("ENABLE", id, "v6")))) == 1);
    CHECK(count_of(one(box.ask(policy("DISABLE", id, "web")))) == 1);
    CHECK(box.service_of(id).suppressed == 4);
}

TEST_CASE("ENABLE is answered when the dataplane has it", "[dtcp:5.policy-suppresses]") {
    Box box;
    const auto id = add(box);
    const auto session = box.open();
    box.paused = true;
    box.send(session, policy("ENABLE", id, "dns"));
    CHECK(box.take(session).empty());
    box.paused = false;
    CHECK(count_of(one(box.take(session))) == 1);
}

TEST_CASE("ENABLE leaves static taps alone without Flags: Static; unknown IDs are 431, unknown policies 901",
          "[dtcp:5.policy-form][dtcp:5.policy-answer][dtcp:9.431][dtcp:9.901]") {
    Box box;
    const auto fixed = add(box);
    const auto timed = add(box, {"Flags: SendAsync", "Timeout-Total: 60"});
    CHECK(count_of(one(box.ask(policy("ENABLE", fixed, "web", false)))) == 0);
    CHECK(box.service_of(fixed).suppressed == 0);
    CHECK(count_of(one(box.ask(policy("ENABLE", timed, "web", false)))) == 1);
    CHECK(one(box.ask(policy("ENABLE", fixed == 5 ? 6 : 5, "web"))).code == 431);
    const auto unknown = box.ask(policy("ENABLE", fixed, "nothing"));
    CHECK(one(unknown).code == 901);
    CHECK(unknown.find("\r\nX-Drop-Policy: nothing\r\n") != std::string::npos);
    CHECK(one(box.ask(request("ENABLE", {"X-Drop-Policy: web"}))).code == 400);
    CHECK(one(box.ask(request("ENABLE", {fmt::format("Criteria-ID: {}", fixed)}))).code == 400);
}

TEST_CASE("enabled policies survive the dataplane, control, and a REFRESH; they are no refresh") {
    Box box;
    const auto id = add(box, {"Flags: SendAsync", "Timeout-Packets: 60"});
    CHECK(count_of(one(box.ask(policy("ENABLE", id, "dns")))) == 1);
    box.dataplane_dies();
    box.dataplane_starts();
    CHECK(box.service_of(id).suppressed == 2);
    box.control_restarts();
    CHECK(box.service_of(id).suppressed == 2);
    const auto entry = one(box.ask(request("LIST", {})));
    CHECK(number(entry, lib::dtcp::Name::num_refresh) == 0);
    box.ask(request("REFRESH", {fmt::format("Criteria-ID: {}", id), "Timeout-Packets: 70"}));
    CHECK(box.service_of(id).suppressed == 2);
    CHECK(box.service_of(id).packet_limit == 70);
}

}  // namespace flowtap::test
