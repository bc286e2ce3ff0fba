// DTCP in datagrams: what is answered, when, to where; and what never is.
#include "control/datagram_service.h"

#include "test/unit/control/box.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace flowtap::test {

namespace {

using control::Datagram;
using control::SecurityReason;
using control::ServiceCounter;

lib::IpAddress address(std::string_view text) {
    return lib::parse_address(text).value();
}

/// A box with a datagram service before it.
class UdpBox : public Box {
  public:
    explicit UdpBox(const lib::Config& config = box_config(), std::size_t udp_sources = 1) : Box{config} {
        REQUIRE(store.record_new() == udp_sources);
    }

    void give(std::string bytes, std::string_view peer = "203.0.113.9", std::uint16_t port = 4000) {
        udp.receive({std::move(bytes), {address(peer), port}, address("192.0.2.50"), 3, 1}, now);
    }
    void write(bool good = true) {
        while (udp.commit_wanted()) {
            static_cast<void>(udp.take_changes());
            udp.committed(good, now);
        }
    }
    std::vector<Datagram> answers() {
        std::vector<Datagram> all;
        for (int turn = 0; turn < 8; ++turn) {
            settle();
            udp.pump(service().take_touched(), now);
            for (auto& answer : udp.take_answers()) {
                all.push_back(std::move(answer));
            }
        }
        for (const auto& event : udp.take_events()) {
            reasons.push_back(event.reason);
            CHECK(event.user == "udp");
        }
        return all;
    }
    std::vector<Datagram> ask_udp(std::string bytes) {
        give(std::move(bytes));
        write();
        return answers();
    }
    std::string noop(std::uint64_t seq, std::string_view source = "a",
                     std::optional<std::string_view> key = {}) {
        return message("NOOP DTCP/0.7", {fmt::format("Csource-ID: {}", source), fmt::format("Seq: {}", seq)},
                       source, key);
    }

    control::SequenceStore store = sequences();
    control::DatagramService udp{service(), sources(), store};
    std::vector<SecurityReason> reasons;
};

/// Both sources may use UDP.
class SharedUdpBox : public UdpBox {
  public:
    SharedUdpBox() : UdpBox{config(), 2} {}

  private:
    static const lib::Config& config() {
        static const lib::Config shared = [] {
            auto config = box_config();
            config.sources[1].udp = true;
            return config;
        }();
        return shared;
    }
};

}  // namespace

TEST_CASE_METHOD(UdpBox, "udp: one answer goes to where the request came from, from where it came to",
                 "[udp][dtcp:1.udp-reply]") {
    const auto all = ask_udp(noop(1));
    REQUIRE(all.size() == 1);
    CHECK(all[0].bytes.starts_with("DTCP/0.7 200 OK\r\nSEQ: 1\r\n"));
    CHECK(all[0].bytes.ends_with("\r\n\r\n"));
    CHECK(all[0].peer == lib::Endpoint{address("203.0.113.9"), 4000});
    CHECK(all[0].local == address("192.0.2.50"));
    CHECK(all[0].interface == 3);
    CHECK(all[0].socket == 1);
    CHECK(service().sessions() == 0);
}

TEST_CASE_METHOD(UdpBox, "udp: nothing is acted on or answered before its number is on the medium",
                 "[udp][dtcp:1.udp-seq-durable]") {
    give(add_message(1));
    CHECK(answers().empty());
    CHECK(installed().empty());
    write();
    CHECK(answers().size() == 1);
    CHECK(installed().size() == 1);
    // What could not be written is forgotten, and its number used up.
    give(add_message(2));
    write(false);
    CHECK(answers().empty());
    CHECK(ask_udp(add_message(2)).empty());
    CHECK(installed().size() == 1);
    CHECK(counter(ServiceCounter::datagrams_not_recorded) == 1);
    CHECK(ask_udp(add_message(3)).size() == 1);
}

TEST_CASE_METHOD(UdpBox, "udp: what is not authentic, or from a source that may not, is never answered",
                 "[udp][dtcp:1.udp-off][dtcp:3.silent-signature][dtcp:3.seq-authentic-only]") {
    CHECK(ask_udp(noop(1, "nobody", "key-a")).empty());
    CHECK(ask_udp(noop(1, "a", "wrong")).empty());
    CHECK(ask_udp("NOOP DTCP/0.7\r\nCsource-ID: a\r\nSeq: 1\r\n\r\n").empty());
    CHECK(ask_udp(noop(1, "b")).empty());
    CHECK(ask_udp("").empty());
    CHECK(ask_udp(std::string(1000, '\0')).empty());
    CHECK(ask_udp("\r\n" + noop(1)).empty());
    using enum SecurityReason;
    CHECK(reasons == std::vector{no_source, bad_signature, no_signature, udp_not_allowed, no_source,
                                 no_source, no_source});
    // Nor does any of it move the window.
    CHECK(ask_udp(noop(1)).size() == 1);
    CHECK(counter(ServiceCounter::rejected_source) == 5);
    CHECK(counter(ServiceCounter::rejected_signature) == 2);
}

TEST_CASE_METHOD(
    UdpBox, "udp: a number seen before or outside the window is never answered",
    "[udp][dtcp:1.udp-seq-enforced][dtcp:3.silent-sequence][dtcp:3.seq-step][dtcp:3.seq-behind]") {
    CHECK(ask_udp(noop(1000)).size() == 1);
    CHECK(ask_udp(noop(1000)).empty());
    CHECK(ask_udp(noop(1257)).empty());
    CHECK(ask_udp(noop(1)).empty());
    CHECK(ask_udp(message("NOOP DTCP/0.7", {"Csource-ID: a"})).empty());
    using enum SecurityReason;
    CHECK(reasons == std::vector{sequence_seen, sequence_outside, sequence_outside, no_sequence});
    CHECK(counter(ServiceCounter::rejected_sequence) == 4);
    CHECK(ask_udp(noop(1256)).size() == 1);
    CHECK(ask_udp(noop(1001)).size() == 1);
}

TEST_CASE_METHOD(SharedUdpBox, "udp: each source has numbers of its own", "[udp][dtcp:1.udp-seq-enforced]") {
    CHECK(ask_udp(noop(1'000'000)).size() == 1);
    CHECK(ask_udp(noop(5, "b")).size() == 1);
    CHECK(ask_udp(noop(5, "b")).empty());
    CHECK(ask_udp(noop(1'000'000, "b")).empty());
    CHECK(ask_udp(noop(1'000'001)).size() == 1);
}

TEST_CASE_METHOD(UdpBox, "udp: a message twice in one moment is acted on once", "[udp][dtcp:3.seq-seen]") {
    give(add_message(1));
    give(add_message(1));
    write();
    CHECK(answers().size() == 1);
    CHECK(installed().size() == 1);
}

TEST_CASE_METHOD(UdpBox, "udp: a second message in a datagram is not looked at",
                 "[udp][dtcp:1.udp-one-message]") {
    const auto all = ask_udp(noop(1) + add_message(2));
    CHECK(all.size() == 1);
    CHECK(installed().empty());
    CHECK(ask_udp(noop(2)).size() == 1);
}

TEST_CASE_METHOD(UdpBox, "udp: an authentic message that is wrong is answered, and its number is used up",
                 "[udp]") {
    const auto bad = message("NOOP DTCP/0.7", {"Csource-ID: a", "Seq: 1", "no parameter"});
    const auto all = ask_udp(bad);
    REQUIRE(all.size() == 1);
    CHECK(all[0].bytes.starts_with("DTCP/0.7 400"));
    CHECK(ask_udp(bad).empty());
}

TEST_CASE_METHOD(UdpBox, "udp: numbers that pass zero are told", "[udp][dtcp:3.seq-wrap-told]") {
    CHECK(ask_udp(noop(18446744073709551615U)).size() == 1);
    CHECK(udp.take_rollovers().empty());
    CHECK(ask_udp(noop(3)).size() == 1);
    CHECK(udp.take_rollovers() == std::vector{control::SourceIndex{0}});
    CHECK(reasons == std::vector{SecurityReason::sequence_rollover});
    CHECK(counter(ServiceCounter::sequence_rollovers) == 1);
}

TEST_CASE_METHOD(UdpBox, "udp: an answer that waits for the dataplane goes to its own asker",
                 "[udp][dtcp:1.udp-identity][dtcp:1.udp-reply]") {
    paused = true;
    give(add_message(1), "203.0.113.1", 1111);
    give(add_message(2), "203.0.113.2", 2222);
    write();
    CHECK(answers().empty());
    paused = false;
    const auto all = answers();
    REQUIRE(all.size() == 2);
    for (const auto& answer : all) {
        const bool first = answer.bytes.find("SEQ: 1\r\n") != std::string::npos;
        CHECK(answer.peer.port == (first ? 1111 : 2222));
    }
}

TEST_CASE_METHOD(UdpBox, "udp: a LIST is split into messages of at most 1,400 bytes, each whole and signed",
                 "[udp][dtcp:8.udp-size][dtcp:8.udp-whole]") {
    for (std::uint64_t seq = 1; seq <= 4; ++seq) {
        REQUIRE(ask_udp(add_message(seq, {"Dest-Port: 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20"}))
                    .size() == 1);
    }
    const auto all = ask_udp(message("LIST DTCP/0.7", {"Csource-ID: a", "Seq: 5"}));
    CHECK(all.size() > 1);
    std::size_t entries = 0;
    auto key = lib::dtcp::Hmac::create({reinterpret_cast<const std::uint8_t*>("key-a"), 5});
    for (const auto& part : all) {
        CHECK(part.bytes.size() <= 1400);
        CHECK(part.bytes.find("SEQ: 5\r\n") != std::string::npos);
        const auto signature = part.bytes.find("AUTHENTICATION-INFO: ");
        REQUIRE(signature != std::string::npos);
        CHECK(key->verify(std::string_view{part.bytes}.substr(0, signature),
                          std::string_view{part.bytes}.substr(signature + 21, 40)));
        for (std::size_t at = 0; (at = part.bytes.find("CRITERIA-NUM: ", at)) != std::string::npos; ++at) {
            ++entries;
        }
    }
    CHECK(entries == 4);
    // On a stream it is one message.
    CHECK(ask(message("LIST DTCP/0.7", {"Csource-ID: a", "Seq: 5"})).size() > 1400);
}

TEST_CASE_METHOD(UdpBox, "udp: what is on its way is bounded", "[udp]") {
    paused = true;
    std::uint64_t seq = 0;
    while (udp.wants_input()) {
        give(noop(++seq));
        REQUIRE(seq <= control::DatagramService::most_messages);
    }
    CHECK(seq == control::DatagramService::most_messages);
    write();
    CHECK(answers().size() == seq);
    CHECK(udp.wants_input());
}

TEST_CASE_METHOD(UdpBox, "udp: a datagram speaks for the source that has signed it, and no other",
                 "[udp][dtcp:1.udp-identity]") {
    // The account "a" may not speak as b, and there is no account here at all.
    const auto id = service().open_datagram({"udp", {}, control::SourceIndex{1}}, noop(1), now);
    CHECK(service().output(id).empty());
    CHECK(service().finished(id));
}

}  // namespace flowtap::test
