// Notifications: who is told what, in which version, how often; and purges.
#include "control/alerts.h"

#include "test/unit/control/box.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <algorithm>

namespace flowtap::test {

namespace {

using control::ServiceCounter;
using control::SourceIndex;

constexpr SourceIndex source_a{0};
constexpr SourceIndex source_b{1};

std::uint64_t id_in(std::string_view answer) {
    const auto at = answer.find("CRITERIA-ID: ");
    INFO(answer);
    REQUIRE(at != std::string_view::npos);
    return std::stoull(std::string{answer.substr(at + 13, 20)});
}

class AlertBox : public Box {
  public:
    explicit AlertBox(const lib::Config& config = box_config())
        : Box{config}, alerts{config, tasking(), notifier, service().counters()} {
        alerts.begin();
    }
    /// To the destination with limits, under a name of the source's own.
    std::uint64_t add_limited(std::initializer_list<std::string_view> more = {},
                              std::string_view source = "a") {
        std::vector<std::string> lines{fmt::format("Csource-ID: {}", source),
                                       fmt::format("Seq: {}", ++seq_),
                                       source == "a" ? "Cdest-ID: mine" : "Cdest-ID: ours",
                                       fmt::format("Source-Address: 10.0.0.{}", seq_),
                                       "X-JTap-Cdest-Dest-Address: 192.0.2.7",
                                       "X-JTap-Cdest-Dest-Port: 7007",
                                       "X-JTap-Cdest-Source-Address: 203.0.113.1",
                                       "X-JTap-Cdest-Source-Port: 5001"};
        std::string text = "ADD DTCP/0.7\r\n";
        for (const auto& line : lines) {
            text += line + "\r\n";
        }
        for (const auto line : more) {
            text += fmt::format("{}\r\n", line);
        }
        if (std::ranges::none_of(more, [](auto line) { return line.starts_with("Timeout"); })) {
            text += "Flags: Static\r\n";
        }
        text.resize(text.size() - 2);
        return id_in(ask(message(text, {}, source), std::string{source}));
    }
    void second() {
        pass(1000);
        alerts.tick(now);
        settle();
        alerts.ended(ended(), now);
        alerts.asked(service().take_noops(), now);
    }
    /// First lines of what the source's first peer is sent, with the named parameters.
    std::vector<std::string> told(SourceIndex source, std::string_view host) {
        collect();
        std::vector<std::string> texts;
        for (const auto& [peer, text] : sent_) {
            if (lib::to_string(peer.address) == host) {
                texts.push_back(text);
            }
        }
        std::erase_if(sent_, [&](const auto& entry) { return lib::to_string(entry.peer.address) == host; });
        for (const auto& text : texts) {
            const auto signature = text.find("AUTHENTICATION-INFO: ");
            REQUIRE(signature != std::string::npos);
            CHECK(sources().at(source).key.verify(std::string_view{text}.substr(0, signature),
                                                  std::string_view{text}.substr(signature + 21, 40)));
            CHECK(text.find("SEQ:") == std::string::npos);
            CHECK(text.find("TIMESTAMP: ") != std::string::npos);
        }
        return texts;
    }
    std::vector<std::string> told_a() { return told(source_a, "198.51.100.1"); }
    std::vector<std::string> told_b() { return told(source_b, "198.51.100.2"); }

    control::Notifier notifier{sources(), service().counters()};
    control::Alerts alerts;

  private:
    void collect() {
        control::Notifier::ToPeer next;
        while (notifier.take(next)) {
            sent_.push_back(next);
        }
    }

    std::uint64_t seq_ = 0;
    std::vector<control::Notifier::ToPeer> sent_;
};

/// Both sources may deliver to the destination with limits.
class SharedBox : public AlertBox {
  public:
    SharedBox() : AlertBox{config()} {}

  private:
    static const lib::Config& config() {
        static const lib::Config shared = [] {
            auto config = box_config();
            config.sources[1].destinations = {lib::parse_prefix("192.0.2.0/24").value()};
            return config;
        }();
        return shared;
    }
};

bool holds(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

}  // namespace

TEST_CASE_METHOD(AlertBox, "notify: every peer of the source gets it, in the source's version",
                 "[notify][dtcp:3.signed-notifications][dtcp:4.notification-version][dtcp:9.notify-udp]") {
    notifier.notify(source_a, lib::dtcp::NoopNotification{}, now);
    notifier.notify(source_b, lib::dtcp::NoopNotification{}, now);
    const auto peer_4 = told_a();
    REQUIRE(peer_4.size() == 1);
    CHECK(peer_4[0].starts_with("DTCP/0.7 131 "));
    CHECK(told(source_a, "2001:db8:e::1") == peer_4);
    const auto other = told_b();
    REQUIRE(other.size() == 1);
    CHECK(other[0].starts_with("DTCP/0.6 131 "));
}

TEST_CASE_METHOD(AlertBox, "notify: what the source's version does not know is not sent",
                 "[notify][dtcp:4.notification-unknown]") {
    const lib::dtcp::DroppedNotification dropped{"x", 1, 2, 3};
    notifier.notify(source_a, dropped, now);
    notifier.notify(source_b, dropped, now);
    CHECK(told_a().size() == 1);
    CHECK(told_b().empty());
    CHECK(counter(ServiceCounter::notifications_unknown) == 1);
}

TEST_CASE_METHOD(AlertBox, "notify: what waits is bounded, and the rest is counted", "[notify]") {
    for (std::size_t i = 0; i < control::Notifier::most_waiting + 5; ++i) {
        notifier.notify(source_b, lib::dtcp::NoopNotification{}, now);
    }
    CHECK(counter(ServiceCounter::notifications_dropped) == 5);
    CHECK(told_b().size() == control::Notifier::most_waiting);
}

TEST_CASE_METHOD(AlertBox, "notify: a NOOP with SendAsync is answered and notified",
                 "[notify][dtcp:5.noop-async][dtcp:9.131]") {
    CHECK(ask(message("NOOP DTCP/0.7", {"Csource-ID: a", "Seq: 1", "Flags: SendAsync"}))
              .starts_with("DTCP/0.7 200"));
    CHECK(ask(message("NOOP DTCP/0.7", {"Csource-ID: a", "Seq: 2"})).starts_with("DTCP/0.7 200"));
    alerts.asked(service().take_noops(), now);
    CHECK(told_a().size() == 1);
    CHECK(told_b().empty());
}

TEST_CASE_METHOD(AlertBox, "notify: an event of a timeout is told where it was asked for",
                 "[notify][dtcp:6.timeout-told][dtcp:9.390]") {
    control::TapEvent event;
    event.end = control::TapEnd::idle;
    event.id = lib::TapId{77};
    event.source = source_a;
    event.specified.idle = 5;
    event.specified.bytes = 1000;
    event.remaining.idle = 0;
    event.remaining.bytes = 600;
    alerts.ended({event}, now);
    CHECK(told_a().empty());
    event.send_async = true;
    alerts.ended({event}, now);
    const auto texts = told_a();
    REQUIRE(texts.size() == 1);
    CHECK(texts[0].starts_with("DTCP/0.7 390 "));
    for (const auto* const part : {"CRITERIA-ID: 77\r\n", "TIMEOUT-IDLE: 5\r\n", "TIMEOUT-BYTES: 1000\r\n",
                                   "REMAINING-IDLE: 0\r\n", "REMAINING-BYTES: 600\r\n"}) {
        CHECK(holds(texts[0], part));
    }
    event.end = control::TapEnd::removed;
    alerts.ended({event}, now);
    CHECK(told_a().empty());
}

TEST_CASE_METHOD(AlertBox, "notify: lost copies are told once a second while it lasts, exactly",
                 "[notify][dtcp:3.isolation-notifications][dtcp:9.598]") {
    const auto tap = add_limited();
    second();
    lose(tap, 3, 300);
    lose(tap, 2, 100);
    second();
    auto texts = told_a();
    REQUIRE(texts.size() == 1);
    CHECK(texts[0].starts_with("DTCP/0.7 598 "));
    CHECK(holds(texts[0], fmt::format("CDEST-ID: mine\r\nCRITERIA-ID: {}\r\n", tap)));
    CHECK(holds(texts[0], "DROPPED-PACKETS: 5\r\nDROPPED-BYTES: 400\r\n"));
    count(tap, 10, 100);
    second();
    CHECK(told_a().empty());
    lose(tap, 1, 10);
    second();
    texts = told_a();
    REQUIRE(texts.size() == 1);
    CHECK(holds(texts[0], "DROPPED-PACKETS: 1\r\nDROPPED-BYTES: 10\r\n"));
    CHECK(told_b().empty());
}

TEST_CASE_METHOD(AlertBox,
                 "notify: losses that an earlier control has told are not told again, later ones are",
                 "[notify][dtcp:9.598]") {
    const auto tap = add_limited();
    lose(tap, 3, 300);
    second();
    CHECK(told_a().size() == 1);
    control_restarts();
    control::Notifier next_notifier{sources(), service().counters()};
    control::Alerts next{box_config(), tasking(), next_notifier, service().counters()};
    control::Notifier::ToPeer notice;
    for (int i = 0; i < 20; ++i) {
        next.tick(now);
        pass(1000);
    }
    CHECK_FALSE(next_notifier.take(notice));
    lose(tap, 2, 50);
    pass(1000);
    next.tick(now);
    REQUIRE(next_notifier.take(notice));
    CHECK(holds(notice.text, "DROPPED-PACKETS: 2\r\nDROPPED-BYTES: 50\r\n"));
}

TEST_CASE_METHOD(AlertBox, "notify: a passed soft limit is told once, to the sources with a tap there",
                 "[notify][dtcp:9.580][dtcp:9.580-fields]") {
    const auto tap = add_limited();
    const auto idle = add_limited();
    static_cast<void>(idle);
    for (int i = 0; i < 12; ++i) {
        count(tap, 10, 150'000);  // 1.2 Mbit/s
        second();
    }
    auto texts = told_a();
    REQUIRE(texts.size() == 1);
    CHECK(texts[0].starts_with("DTCP/0.7 580 "));
    CHECK(holds(texts[0], "CDEST-ID: mine\r\n"));
    CHECK(holds(texts[0], "ALERT-BANDWIDTH: 1000000\r\nMAX-BANDWIDTH: 2000000\r\n"));
    CHECK(told_b().empty());  // no tap there
    for (int i = 0; i < 15; ++i) {
        second();
    }
    for (int i = 0; i < 12; ++i) {
        count(tap, 10, 150'000);
        second();
    }
    CHECK(told_a().size() == 1);
    CHECK(installed().size() == 2);
}

TEST_CASE_METHOD(AlertBox, "notify: beyond the hard limit taps go, lowest priority first, and it is told",
                 "[notify][dtcp:9.680]") {
    const auto high = add_limited({"Priority: 9"});
    const auto old = add_limited();
    pass(100);
    const auto young = add_limited();
    const auto elsewhere = id_in(ask(add_message(99)));
    for (int i = 0; i < 12; ++i) {
        for (const auto tap : installed()) {
            count(tap, 10, tap == elsewhere ? 10'000'000 : 100'000);  // 0.8 Mbit/s each, 2.4 in all
        }
        second();
    }
    auto expected = std::vector{high, old, elsewhere};
    std::ranges::sort(expected);
    CHECK(installed() == expected);
    std::vector<std::string> purges;
    std::ranges::copy_if(told_a(), std::back_inserter(purges),
                         [](const auto& text) { return text.starts_with("DTCP/0.7 680 "); });
    REQUIRE(purges.size() == 1);
    CHECK(holds(purges[0], fmt::format("CDEST-ID: mine\r\nCRITERIA-ID: {}\r\n", young)));
    CHECK(counter(ServiceCounter::taps_purged) == 1);
}

TEST_CASE_METHOD(SharedBox, "notify: each source hears of its own criteria only, under its own name",
                 "[notify][dtcp:3.isolation-notifications][dtcp:9.580][dtcp:9.680-fields]") {
    const auto mine = add_limited({"Priority: 2"});
    const std::vector theirs{add_limited({}, "b"), add_limited({}, "b")};
    const auto kept = add_limited({"Priority: 3"}, "b");
    for (int i = 0; i < 12; ++i) {
        for (const auto tap : installed()) {
            count(tap, 10, 150'000);  // 1.2 Mbit/s each
        }
        second();
    }
    CHECK(installed() == std::vector{kept});
    const auto to_a = told_a();
    const auto to_b = told_b();
    const auto count_of = [](const std::vector<std::string>& texts, std::string_view code) {
        return std::ranges::count_if(texts, [&](const auto& text) { return text.substr(9, 3) == code; });
    };
    CHECK(count_of(to_a, "580") == 1);
    CHECK(count_of(to_b, "580") == 1);
    CHECK(count_of(to_a, "680") >= 1);
    CHECK(count_of(to_b, "680") >= 1);
    for (const auto& text : to_a) {
        CHECK(holds(text, "CDEST-ID: mine\r\n"));
        CHECK_FALSE(holds(text, "ours"));
        for (const auto tap : theirs) {
            CHECK_FALSE(holds(text, std::to_string(tap)));
        }
    }
    for (const auto& text : to_b) {
        CHECK(holds(text, "CDEST-ID: ours\r\n"));
        CHECK_FALSE(holds(text, "mine"));
        CHECK_FALSE(holds(text, std::to_string(mine)));
    }
}

TEST_CASE_METHOD(AlertBox, "notify: a burst of a tap that is new is no average of 10 s over a limit",
                 "[notify]") {
    const auto tap = add_limited();
    count(tap, 100, 150'000);  // 1.2 Mbit: in a second beyond the soft limit, in 10 s far below both
    second();
    count(tap, 100, 150'000);
    second();
    CHECK(told_a().empty());
    CHECK(installed() == std::vector{tap});
}

TEST_CASE_METHOD(AlertBox, "notify: a session that wants them gets them between answers, and others do not",
                 "[notify][dtcp:9.notify-sessions]") {
    const auto session = open();
    send(session, message("NOOP DTCP/0.7", {"Csource-ID: a", "Seq: 1"}));
    const auto stranger = open();
    service().notify(source_a, "one\r\n\r\n", now);
    CHECK(take(session).ends_with("one\r\n\r\n"));
    CHECK(take(stranger).empty());
    paused = true;
    send(session, add_message(2));
    service().notify(source_a, "two\r\n\r\n", now);
    CHECK(take(session) == "two\r\n\r\n");
    paused = false;
    CHECK(take(session).starts_with("DTCP/0.7 200"));
}

TEST_CASE_METHOD(AlertBox, "notify: a session is not dropped for notifications that it does not read",
                 "[notify][dtcp:9.notify-sessions]") {
    const auto session = open();
    send(session, message("NOOP DTCP/0.7", {"Csource-ID: a", "Seq: 1"}));
    static_cast<void>(take(session));
    for (std::size_t i = 0; i < 2 * control::Session::notice_limit; ++i) {
        service().notify(source_a, "one\r\n\r\n", now);
    }
    CHECK(counter(ServiceCounter::notifications_dropped) == control::Session::notice_limit - 1);
    pass(60'000);
    CHECK_FALSE(service().finished(session));
    // An answer that it does not read is another matter.
    send(session, message("NOOP DTCP/0.7", {"Csource-ID: a", "Seq: 2"}));
    pass(29'000);
    CHECK_FALSE(service().finished(session));
    pass(2'000);
    CHECK(service().finished(session));
}

}  // namespace flowtap::test
