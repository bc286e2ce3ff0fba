#include "tools/receive/options.h"

#include "crypto/replay_window.h"
#include "lib/usage_message.h"

#include <CLI/CLI.hpp>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace flowtap::tools::receive {

std::expected<Options, Leave> parse_options(int argc, char* argv[]) {
    Options options;
    CLI::App app(
        "Opens the ESP packets of one security association, strips the encapsulation of the copies inside "
        "and\n"
        "writes the original packets to pcap files. Ends with a summary: counts, refusals by cause, and gaps "
        "in\n"
        "the sequence numbers.",
        "flowtap-receive");
    app.add_option("--sa", options.sa, "file of the security association: spi, suite, keys")
        ->required()
        ->type_name("FILE");
    auto* const interface = app.add_option("--interface", options.interface,
                                           "capture on this network interface (needs CAP_NET_RAW)")
                                ->type_name("NAME");
    auto* const file = app.add_option("--read", options.file, "read this pcap or pcapng file instead")
                           ->excludes(interface)
                           ->type_name("FILE");
    app.add_option("--write", options.write,
                   "write the original packets to this pcap file (link type raw IP)")
        ->type_name("FILE")
        ->check([](const std::string& path) {
            return path == "-" ? std::string("has to be a file; the summary goes to standard output")
                               : std::string();
        });
    app.add_option("--count", options.count, "stop after this many copies")
        ->check(CLI::PositiveNumber)
        ->type_name("N");
    app.add_option("--idle", options.idle, "stop after this many seconds without an ESP packet")
        ->check(CLI::PositiveNumber)
        ->excludes(file)
        ->type_name("SECONDS");
    app.add_option(
           "--replay-window", options.replay_window,
           "refuse replayed packets by a window of 64 to 4096 sequence numbers; 0, the default, refuses "
           "none, as RFC 4303 has it for static keys, and counts what came twice")
        ->check([](const std::string& text) {
            std::size_t size = 0;
            const bool right =
                CLI::detail::lexical_cast(text, size) && (size == 0 || crypto::ReplayWindow::valid(size));
            return right ? std::string() : std::string("has to be 0, or from 64 to 4096");
        })
        ->type_name("N");
    app.add_option(
           "--highest-sequence", options.highest_sequence,
           "with extended sequence numbers: the highest one received so far, from which the high half of "
           "the next ones is inferred; 0, the default, for a sender that starts at 1")
        ->type_name("N");
    app.add_option_function<std::vector<std::string>>(
           "--shim",
           [&options](const std::vector<std::string>& all) {
               for (const std::string& text : all) {
                   if (!options.shims.add(text)) {
                       throw CLI::ValidationError(
                           "--shim", text +
                                         " is neither SHIM nor PORT=SHIM; a SHIM is raw, jmirror, cisco, "
                                         "nokia-l3 or flowtap");
                   }
               }
           },
           "what stands before the original packets: raw, jmirror, cisco, nokia-l3 or flowtap; of copies to "
           "one UDP port, PORT=SHIM. May be given several times. By default raw, jmirror and flowtap are "
           "told apart; cisco and nokia-l3 have to be said")
        ->type_name("[PORT=]SHIM");
    auto* const folder =
        app.add_option("--write-folder", options.rotation.folder,
                       "write the original packets to pcap files in this folder, each under a temporary "
                       "name (.partial) until it is complete")
            ->check(CLI::ExistingDirectory)
            ->excludes("--write")
            ->type_name("FOLDER");
    app.add_option("--rotate-bytes", options.rotation.bytes, "a new file before one gets longer than this")
        ->check(CLI::PositiveNumber)
        ->needs(folder)
        ->type_name("N");
    app.add_option_function<double>(
           "--rotate-seconds",
           [&options](const double& seconds) {
               options.rotation.age = std::chrono::duration_cast<std::chrono::nanoseconds>(
                   std::chrono::duration<double>(seconds));
           },
           "a new file when one is this old")
        ->check(CLI::Range(0.001, 1e9))
        ->needs(folder)
        ->type_name("SECONDS");
    app.add_option("--keep", options.rotation.keep, "delete the oldest complete files beyond this many")
        ->check(CLI::PositiveNumber)
        ->needs(folder)
        ->type_name("N");
    auto* const interval =
        app.add_option("--interval", options.interval,
                       "every so many seconds, and at the end, print the summary so far as one JSON object "
                       "on a line, with the time")
            ->check(CLI::Range(0.001, 1e9))
            ->type_name("SECONDS");
    app.add_option("--statistics", options.statistics, "append these lines to this file")
        ->needs(interval)
        ->type_name("FILE");
    app.add_flag("--json", options.json, "print the summary as one JSON object");
    app.footer(
        "Exit codes: 0 everything was opened, 1 there were gaps, refused or repeated packets or copies, 2 "
        "wrong\n"
        "arguments or files, or a file that cannot be written (disk full), 3 a capability is missing.");
    app.failure_message(lib::usage_message);
    try {
        app.parse(argc, argv);
        if (interface->count() == 0 && file->count() == 0) {
            throw CLI::RequiredError("--interface or --read");
        }
    } catch (const CLI::ParseError& error) {
        const int code = app.exit(error);
        return std::unexpected(Leave{code == 0 ? 0 : std::to_underlying(ExitCode::bad_input)});
    }
    return options;
}

}  // namespace flowtap::tools::receive
