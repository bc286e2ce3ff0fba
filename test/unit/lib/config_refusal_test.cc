// What is said about a bad configuration file, and where.
#include "lib/config.h"
#include "test/unit/lib/config_fixture.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace {

using namespace flowtap::lib;
using namespace flowtap::lib::test;
using Catch::Contains;

}  // namespace

TEST_CASE_METHOD(ConfigFolder, "config: an unknown key is named with its place, the nearest key and all keys",
                 "[config]") {
    CHECK(error("max-taps", "max-tap") ==
          "3:1: unknown key \"max-tap\" in [dataplane] (did you mean \"max-taps\"?): allowed are workers, "
          "manager, "
          "max-taps, memory-mib, huge-pages, mtu, buffers, copy-buffers, queue-size, wait-for-control, "
          "inner-match");
    CHECK(error("max-criteria", "max_criteria") ==
          "49:1: unknown key \"max_criteria\" in [[source]] (did you mean \"max-criteria\"?): allowed are "
          "name, "
          "key-file, users, destinations, udp, notify, notify-sessions, notify-version, max-criteria, "
          "max-destinations, requests-per-second, actions, ssh-sequence");
    CHECK(error("max-taps", "colour") ==
          "3:1: unknown key \"colour\" in [dataplane]: allowed are workers, manager, "
          "max-taps, memory-mib, huge-pages, mtu, buffers, copy-buffers, queue-size, "
          "wait-for-control, inner-match");
    CHECK_THAT(
        error("[ssh]", "[shh]"),
        Contains(":2: unknown key \"shh\" in the file (did you mean \"ssh\"?): allowed are dataplane, port, "
                 "wire, delivery, tunnel, route, destination, interface, vrf, drop-policy, source, control, "
                 "ssh, udp"));
}

TEST_CASE_METHOD(ConfigFolder, "config: notification peers, limits and UDP addresses that cannot be right",
                 "[config]") {
    for (const std::string_view bad :
         {"192.0.2.9", "192.0.2.9:", "192.0.2.9:0", "192.0.2.9:65536", "[192.0.2.9]:1", "2001:db8::9:1",
          "[2001:db8::9]", "[2001:db8::9]:x", "host:1", ":1"}) {
        CHECK_THAT(error("max-criteria = 10", fmt::format("notify = [\"{}\"]", bad)),
                   Catch::StartsWith("49:11: ") && Contains("is no address with a port"));
    }
    CHECK_THAT(error("max-criteria = 10", "notify-version = \"0.9\""),
               Contains("\"0.5\", \"0.6\", \"0.7\" or \"0.8\" is"));
    CHECK_THAT(error("source-port = 5001\n", "source-port = 5001\nsoft-limit = 2\nhard-limit = 1\n"),
               Contains("1 is below the soft limit, 2"));
    CHECK_THAT(error("[ssh]", "[udp]\nlisten = [\"0.0.0.0\", \"192.0.2.1\"]\n[ssh]"),
               Contains("0.0.0.0 and 192.0.2.1 are listened on together"));
    CHECK_THAT(error("[ssh]", "[udp]\nlisten = []\n[ssh]"), Contains("a list of 1 to 64 items"));
}

TEST_CASE_METHOD(ConfigFolder, "config: how copies leave is one thing for an address and port", "[config]") {
    const auto second = [](std::string_view port, std::string_view more) {
        return fmt::format(
            "source-port = 5001\n[[destination]]\nname = \"other\"\naddress = \"2001:db8:1::5\"\nport = {}\n"
            "source-address = \"2001:db8::1\"\nsource-port = 1\n{}\n",
            port, more);
    };
    CHECK_THAT(error("source-port = 5001\n", second("5000", "dscp = 1")),
               Contains("not those of line 39, which has the same address and port"));
    CHECK_THAT(error("source-port = 5001\n", second("5000", "shim = \"cisco\"")), Contains("must be"));
    CHECK_THAT(error("source-port = 5001\n", second("5000", "rate-limit = 1")), Contains("must be"));
    CHECK(with("source-port = 5001\n", second("5000", "ttl = 3")));
    CHECK_THAT(error("source-port = 5001\n", "source-port = 5001\nburst-size = 200_000\n"),
               Contains("add rate-limit"));
    // A burst that the longest IP packet would not fit into.
    CHECK_THAT(error("source-port = 5001\n", "source-port = 5001\nrate-limit = 1000\nburst-size = 65_535\n"),
               Contains("131072 to 1000000000"));
    CHECK(with("source-port = 5001\n", second("5001", "shim = \"flowtap\"\ndscp = 1")));
    CHECK_THAT(error("source-port = 5001\n", "source-port = 5001\nshim = \"jmirror\"\n"),
               Contains("\"raw\" or \"cisco\" or \"nokia-l3\" or \"flowtap\""));
    CHECK_THAT(error("source-port = 5001\n", "source-port = 5001\ndscp = 64\n"), Contains("0 to 63"));
}

TEST_CASE_METHOD(ConfigFolder, "config: a wrong value is shown with what would be right", "[config]") {
    struct Case {
        std::string_view part;
        std::string_view instead;
        std::string_view expected;
    };
    const std::vector<Case> cases{
        {"[0]", "0",
         "2:11: the number 0 is not allowed here: a list of 1 to 64 items, each a number, 0 to 1023 is"},
        {"[0]", "[]", "2:11: a list is not allowed here: a list of 1 to 64 items"},
        {"[0]", "[\"0\"]", "2:12: the string \"0\" is not allowed here: a number, 0 to 1023 is"},
        {"[0]", "[-1]", "2:12: the number -1 is not allowed here: a number, 0 to 1023 is"},
        {"1_000", "0", "3:12: the number 0 is not allowed here: a number, 1 to 16777216 is"},
        {"1_000", "16777217", "3:12: the number 16777217 is not allowed"},
        {"1_000", "10.0", "3:12: the number 10 is not allowed here: a number, 1 to"},
        {"1_000", "true", "3:12: true is not allowed here: a number"},
        {"1_000", "2026-01-01", "3:12: a date or time is not allowed here: a number"},
        {"1_000", "{}", "3:12: a table is not allowed here: a number"},
        {"max-taps = 1_000", "huge-pages = 1", "3:14: the number 1 is not allowed here: true or false is"},
        {"max-taps = 1_000", "mtu = 63", "3:7: the number 63 is not allowed here: a number, 64 to 9216 is"},
        {"max-taps = 1_000", "mtu = 9217", "3:7: the number 9217 is not"},
        {"max-taps = 1_000", "queue-size = 1000",
         "3:14: the number 1000 is not allowed here: a power of two, 64 to 32768"},
        {"max-taps = 1_000", "queue-size = -64", "3:14: the number -64 is not allowed here: a power of two"},
        {"max-taps = 1_000", "wait-for-control = \"2\"",
         "3:20: the string \"2\" is not allowed here: a number of seconds"},
        {"max-taps = 1_000", "wait-for-control = nan",
         "3:20: the number nan is not allowed here: a number of seconds"},
        {"max-taps = 1_000", "inner-match = [\"gre\", \"gtp\"]",
         "3:23: the string \"gtp\" is not allowed here: \"gre\" or \"gtp-u\" or \"vxlan\" is"},
        {"max-taps = 1_000", "inner-match = \"gre\"", "3:15: the string \"gre\" is not allowed here: a list"},
        {"max-taps = 1_000", "wait-for-control = -0.1", "3:20: the number -0.1 is not"},
        {"\"xe-0/0/0\"", "\"\"", "6:8: the string \"\" is not allowed here: a name of 1 to 63 printable"},
        {"\"xe-0/0/0\"", "\"a b\"", "6:8: the string \"a b\" is not allowed here: a name"},
        {"\"0000:03:00.0\"", "\"a\\u0007\"",
         "7:10: the string \"a\\x07\" is not allowed here: a PCI address"},
        {"\"02:00:5e:00:00:01\"", "\"02:00:5e:00:00\"", "23:16: "},
        {"\"2.2.2.0/27\"", "\"2.2.2.1/27\"", "32:10: "},
        {"\"2.2.2.0/27\"", "27", "32:10: the number 27 is not allowed here: a prefix in quotes"},
        {"local = \"100.100.100.100\"", "local = \"100.100.100\"", "27:9: "},
        {"port = 5000", "port = 0", "41:8: the number 0 is not allowed here: a number, 1 to 65535 is"},
        {"clear = true", "clear = false",
         "36:9: false is not allowed here: true (for encryption, name a tunnel"},
        {"[\"192.0.2.0/24\"]", "[]", "52:10: a list is not allowed here: a list of 1 to 4096 items"},
        {"[\"192.0.2.0/24\"]", "[\"192.0.2.0/24\", \"x\"]", "52:27: "},
    };
    for (const Case& one : cases) {
        CAPTURE(one.part, one.instead);
        const auto config = with(one.part, one.instead);
        REQUIRE_FALSE(config);
        const ConfigError& first = config.error().front();
        CHECK_THAT(fmt::format("{}:{}: {}", first.line, first.column, first.message),
                   Catch::StartsWith(std::string(one.expected)));
        // A port without its name makes the wire of that name wrong too.
        CHECK(config.error().size() == (one.part == "\"xe-0/0/0\"" ? 2 : 1));
    }
}

TEST_CASE_METHOD(ConfigFolder, "config: limits of the SSH service are 1 to 250",
                 "[config][dtcp:1.limits-range]") {
    for (const std::string key : {"connection-limit", "rate-limit"}) {
        for (const std::string number : {"0", "251"}) {
            CHECK_THAT(error("access =", key + " = " + number + "\naccess ="),
                       Contains("the number " + number + " is not allowed here: a number, 1 to 250 is"));
        }
        for (const std::string number : {"1", "250"}) {
            CHECK(with("access =", key + " = " + number + "\naccess ="));
        }
    }
}

TEST_CASE_METHOD(ConfigFolder, "config: what is missing is named, with the place where it belongs",
                 "[config]") {
    CHECK(error("workers = [0]\n", "") ==
          "1:1: [dataplane] lacks \"workers\": a list of 1 to 64 items, each a number, 0 to 1023");
    CHECK_THAT(error("device = \"0000:03:00.1\"\n", ""),
               Catch::StartsWith("8:1: [[port]] lacks \"device\": a PCI"));
    CHECK_THAT(error("tunnel = \"ttp\"\n", ""),
               Catch::StartsWith("31:1: a [[route]] needs either `tunnel`, or `clear = true`"));
    CHECK_THAT(error("tunnel = \"ttp\"\n", "tunnel = \"ttp\"\nclear = true\n"),
               Catch::StartsWith("31:1: a [[route]]"));

    const auto empty = load("");
    REQUIRE_FALSE(empty);
    CHECK(all_of(empty.error()) == fmt::format("{0}: the section [dataplane] is missing: it is needed\n"
                                               "{0}: the section [[port]] is missing: it is needed\n"
                                               "{0}: the section [[wire]] is missing: it is needed\n"
                                               "{0}: the section [delivery] is missing: it is needed\n",
                                               file.native()));
}

TEST_CASE_METHOD(ConfigFolder, "config: a section of the wrong form is refused", "[config]") {
    CHECK_THAT(load("port = 5\n[dataplane]\nworkers = [0]\n").error()[0].message,
               Contains("[[wire]] is missing"));
    CHECK_THAT(error("[ssh]\naccess", "[[ssh]]\naccess"),
               Contains("a list is not allowed here: a section [ssh] is"));
    CHECK_THAT(error("[[source]]", "[source]"),
               Contains("a table is not allowed here: sections [[source]] are"));
    const std::string text = "destination = [1]\n" + std::string(good_text);
    const auto config = load(text);
    REQUIRE_FALSE(config);
    CHECK_THAT(all_of(config.error()), Contains("destination"));
    CHECK_THAT(all_of(load("destination = [1]\n").error()),
               Contains("1:16: the number 1 is not allowed here: sections [[destination]] are"));
}

TEST_CASE_METHOD(ConfigFolder, "config: names and devices are there once", "[config]") {
    CHECK(error("[[wire]]", "[[port]]\nname = \"xe-0/0/1\"\ndevice = \"net_null7\"\n[[wire]]") ==
          "16:8: the [[port]] of line 9 has the name \"xe-0/0/1\" already: another one is needed");
    CHECK(error("0000:03:00.1", "net_af_packet0,iface=eth9") ==
          "13:10: the [[port]] of line 10 has the device \"net_af_packet0\" already: another one is needed");
    CHECK_THAT(error("[ssh]",
                     "[[source]]\nname = \"ft-ttp\"\nkey-file = \"keys/ft-ttp\"\ndestinations = "
                     "[\"2.2.2.0/28\"]\n[ssh]"),
               Contains("52:8: the [[source]] of line 46 has the name \"ft-ttp\" already"));
    CHECK_THAT(error("[[route]]",
                     "[[tunnel]]\nname = \"ttp\"\nlocal = \"1.1.1.1\"\nremote = \"1.1.1.2\"\nsa = "
                     "\"keys/ttp.sa\"\n[[route]]"),
               Contains("the [[tunnel]] of line 26 has the name \"ttp\" already"));
    CHECK_THAT(error("max-taps = 1_000", "max-taps = 1\nmax-taps = 2"),
               Catch::StartsWith("4:") && Contains("max-taps"));
}

TEST_CASE_METHOD(ConfigFolder, "config: a port has one use, and exists", "[config]") {
    CHECK(
        error("b = \"xe-0/0/0\"", "b = \"xe-0/0/9\"") ==
        "18:5: the string \"xe-0/0/9\" is not the name of a port: there are xe-0/0/0, xe-0/0/1 and xe-0/0/2");
    CHECK(error("b = \"xe-0/0/0\"", "b = \"xe-0/0/1\"") ==
          "18:5: the port \"xe-0/0/1\" is in use by the wire \"edge0\" (line 17): a port has one use");
    CHECK(error("port = \"xe-0/0/2\"", "port = \"xe-0/0/0\"") ==
          "21:8: the port \"xe-0/0/0\" is in use by the wire \"edge0\" (line 18): a port has one use");
    // Two mistakes: a port of the other wire, and the delivery port.
    const auto config =
        with("[delivery]", "[[wire]]\nname = \"w\"\na = \"xe-0/0/2\"\nb = \"xe-0/0/1\"\n[delivery]");
    REQUIRE_FALSE(config);
    CHECK(config.error().size() == 2);
    CHECK_THAT(all_of(config.error()),
               Contains(":23:5: the port \"xe-0/0/1\" is in use by the wire \"edge0\" (line 17)") &&
                   Contains(":25:8: the port \"xe-0/0/2\" is in use by the wire \"w\" (line 22)"));
}

TEST_CASE_METHOD(ConfigFolder, "config: cores exist and have one worker each", "[config]") {
    CHECK_THAT(error("[0]", "[1023]"),
               Catch::StartsWith("2:12: core 1023 does not exist: this machine has cores 0 to"));
    CHECK(error("[0]", "[0, 0]") == "2:15: core 0 has a worker already: a core has one");
    CHECK_THAT(error("[0]", "[0]\nmanager = 0"), Catch::StartsWith("3:11: core 0 is a worker's"));
    CHECK_THAT(error("[0]", "[0]\nmanager = 1000"), Catch::StartsWith("3:11: core 1000 does not exist"));
}

TEST_CASE_METHOD(ConfigFolder, "config: routes do not overlap, and both are named", "[config]") {
    CHECK(error("\"2001:db8:1::/48\"\nclear = true",
                "\"2001:db8:1::/48\"\nclear = true\n[[route]]\nprefix = "
                "\"2001:db8:1:2::/64\"\nclear = true") ==
          "38:10: 2001:db8:1:2::/64 overlaps 2001:db8:1::/48, the route of line 35: routes must not overlap");
    CHECK(error("[[route]]", "[[route]]\nprefix = \"0.0.0.0/0\"\nclear = true\n[[route]]") ==
          "35:10: 2.2.2.0/27 overlaps 0.0.0.0/0, the route of line 32: routes must not overlap");
    CHECK_THAT(
        error("[[destination]]", "[[route]]\nprefix = \"2.2.2.0/27\"\ntunnel = \"ttp\"\n[[destination]]"),
        Catch::StartsWith("39:10: 2.2.2.0/27 overlaps 2.2.2.0/27, the route of line 32"));
    // Three within one, two of them disjoint: each against the one.
    const auto config = with("[[destination]]",
                             "[[route]]\nprefix = \"2.2.2.0/30\"\nclear = true\n[[route]]\nprefix = "
                             "\"2.2.2.4/30\"\nclear = true\n[[route]]\nprefix = \"2.2.2.32/27\"\nclear = "
                             "true\n[[destination]]");
    REQUIRE_FALSE(config);
    CHECK(config.error().size() == 2);
    CHECK(error("tunnel = \"ttp\"", "tunnel = \"other\"") ==
          "33:10: the string \"other\" is not the name of a tunnel: there are ttp");
}

TEST_CASE_METHOD(ConfigFolder, "config: the ends of a tunnel are of one family, and two", "[config]") {
    CHECK(error("123.123.123.123", "2001:db8::9") ==
          "28:10: 2001:db8::9 is not of the family of 100.100.100.100, its local end: both ends are IPv4, or "
          "both are "
          "IPv6");
    CHECK_THAT(error("123.123.123.123", "100.100.100.100"), Contains("is the local end too"));
    std::string text(good_text);
    text.replace(text.find("local = \"100.100.100.100\""), 25, "local = \"2001:db8::1\"");
    text.replace(text.find("123.123.123.123"), 15, "2001:db8::9");
    CHECK(load(text).has_value());
    text.insert(text.find("next-hop-mac"), "mtu = 1279\n");
    CHECK_THAT(all_of(load(text).error()),
               Contains("1279 is too small for the IPv6 tunnel of line 29: 1280"));
}

TEST_CASE_METHOD(ConfigFolder, "config: what copies are for has a route", "[config]") {
    CHECK(error("\"2.2.2.16/28\"", "\"2.2.2.0/26\"") ==
          "48:31: no [[route]] covers all of 2.2.2.0/26: copies could not be delivered");
    CHECK_THAT(error("\"2.2.2.16/28\"", "\"2.2.3.0/28\""), Contains("no [[route]] covers all of 2.2.3.0/28"));
    CHECK(error("\"2001:db8:1::5\"", "\"2001:db8:2::5\"") ==
          "40:11: no [[route]] covers 2001:db8:2::5: copies could not be delivered");
    CHECK_THAT(error("source-address = \"2001:db8::1\"", "source-address = \"1.1.1.1\""),
               Catch::StartsWith("42:18: 1.1.1.1 is not of the family of 2001:db8:1::5"));
    // Several routes together may cover a prefix, to its last address.
    const std::string_view two =
        "[[route]]\nprefix = \"2.2.2.32/28\"\nclear = true\n[[route]]\nprefix = \"2.2.2.48/28\"\nclear = "
        "true\n[[destination]]";
    std::string text(good_text);
    text.replace(text.find("\"2.2.2.16/28\""), 13, "\"2.2.2.0/26\"");
    text.replace(text.find("[[destination]]"), 15, two);
    CHECK(load(text).has_value());
    text.replace(text.find("2.2.2.48/28"), 11, "2.2.2.48/29");
    CHECK_THAT(all_of(load(text).error()), Contains("no [[route]] covers all of 2.2.2.0/26"));
}

TEST_CASE_METHOD(ConfigFolder, "config: files that are named are there", "[config]") {
    CHECK_THAT(
        error("keys/ttp.sa", "keys/none"),
        Catch::StartsWith(fmt::format("29:6: {} does not exist", (folder.path() / "keys/none").native())));
    CHECK_THAT(error("key-file = \"keys/ft-ttp\"", "key-file = \"keys\""),
               Catch::StartsWith("47:12: ") && Contains("is not a regular file"));
    CHECK_THAT(error("[ssh]", "[ssh]\nhost-keys = [\"keys/ttp.sa\", \"nothing\"]"),
               Catch::StartsWith("52:29: ") && Contains("nothing does not exist"));
    // Relative to the file, wherever the process is; absolute as it stands.
    CHECK(with("keys/ttp.sa", (folder.path() / "keys/ttp.sa").native()).has_value());
}

TEST_CASE_METHOD(ConfigFolder, "config: no more ports than the records have room for", "[config]") {
    std::string text(good_text);
    for (int i = 3; i < 33; ++i) {
        text += fmt::format("[[port]]\nname = \"p{0}\"\ndevice = \"net_null{0}\"\n", i);
    }
    const auto config = load(text);
    REQUIRE_FALSE(config);
    CHECK(config.error().size() == 1);
    CHECK_THAT(config.error()[0].message, Contains("one [[port]] too many: at most 32 are possible"));
    CHECK(config.error()[0].line == 53 + 29 * 3);
}

TEST_CASE_METHOD(ConfigFolder, "config: all errors of a file are reported, in its order", "[config]") {
    std::string text(good_text);
    for (const auto& [part, instead] : std::vector<std::pair<std::string_view, std::string_view>>{
             {"max-taps", "max-tap"},
             {"b = \"xe-0/0/0\"", "b = \"xe\""},
             {"\"2.2.2.0/27\"", "\"2.2.2.0/33\""},
             {"keys/ttp.sa", "none"},
             {"max-criteria = 10", "max-criteria = \"10\""}}) {
        text.replace(text.find(part), part.size(), instead);
    }
    const auto config = load(text);
    REQUIRE_FALSE(config);
    std::vector<std::uint32_t> lines;
    for (const ConfigError& error : config.error()) {
        lines.push_back(error.line);
    }
    CHECK(lines == std::vector<std::uint32_t>{3, 18, 29, 32, 49});
}

TEST_CASE_METHOD(ConfigFolder, "config: what is no TOML, or no file, is said so", "[config]") {
    const auto syntax = load("[dataplane\nworkers = 1\n");
    REQUIRE_FALSE(syntax);
    CHECK(syntax.error().size() == 1);
    CHECK(syntax.error()[0].line == 1);
    CHECK_FALSE(syntax.error()[0].message.empty());

    CHECK(all_of(load_config(folder.path() / "none.toml").error()) ==
          fmt::format("{}: cannot read the configuration: No such file or directory\n",
                      (folder.path() / "none.toml").native()));
    CHECK_THAT(all_of(load_config(folder.path()).error()), Contains("not a regular file"));
    std::filesystem::resize_file(file, 17 * 1024 * 1024);
    CHECK_THAT(all_of(load_config(file).error()), Contains("larger than"));
}

TEST_CASE_METHOD(ConfigFolder, "config: a character that no name can have is refused where it stands",
                 "[config]") {
    CHECK(error("\"edge0\"", "\"\xc3\xa9\"") ==
          "16:9: the byte 0xc3 is not allowed here: printable ASCII is, and any UTF-8 text in comments");
    CHECK_THAT(error("max-taps", std::string("max\0taps", 8)),
               Catch::StartsWith("3:4: the byte 0x00 is not allowed"));
    // toml++ 3.3.0 has undefined behaviour for this one, and aborts on the header.
    CHECK_THAT(error("max-taps", "max\xef\xba\xbftaps"), Catch::StartsWith("3:4: the byte 0xef"));
    CHECK_THAT(error("[ssh]", "[!ssh]"), Catch::StartsWith("51:2: "));
    CHECK_THAT(error("\"edge0\"", "\"a#\xc3\xa9\""), Catch::StartsWith("16:11: the byte 0xc3"));
    CHECK_THAT(error("\"edge0\"", "'\\'#\x7f"), Catch::StartsWith("16:12: the byte 0x7f"));
    CHECK_THAT(error("\"edge0\"", "\"\"\"\n\"#\xc3\"\"\""), Catch::StartsWith("17:3: the byte 0xc3"));
    CHECK_THAT(error("\"edge0\"", "\"\\\"#\xc3\""), Catch::StartsWith("16:12: the byte 0xc3"));

    CHECK(with("[ssh]",
               "# Gr\xc3\xbc\xc3\x9f"
               "e\n[ssh]  # \xe2\x82\xac")
              .has_value());
    CHECK(with("\"edge0\"", "\"edge\\\\\" # \xc3\xa9").has_value());
    CHECK(with("\"edge0\"", "'edge\\' # \xc3\xa9").has_value());
    CHECK(with("\"edge0\"", "\"\"\"edge\"\"\" # \xc3\xa9").has_value());
    CHECK(load("\xef\xbb\xbf" + std::string(good_text)).has_value());
}
