// flowtap-dataplane: the DPDK process. Reads the configuration, then runs until it is told to stop.
#include "dataplane/failure.h"
#include "dataplane/match/simd.h"
#include "dataplane/startup.h"
#include "lib/config.h"
#include "lib/usage_message.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdio>
#include <exception>
#include <string>

namespace {

using flowtap::dataplane::ExitCode;

int leave(ExitCode code) {
    return static_cast<int>(code);
}

int start(const std::string& file, const std::string& simd_name, bool share_cores) {
    namespace dataplane = flowtap::dataplane;
    const auto config = flowtap::lib::load_config(file);
    if (!config) {
        for (const auto& error : config.error()) {
            fmt::print(stderr, "{}\n", flowtap::lib::to_string(error));
        }
        return leave(ExitCode::configuration);
    }
    const auto simd = simd_name == "auto"
                          ? dataplane::match::best_simd()
                          : dataplane::match::parse_simd(simd_name).value_or(dataplane::match::Simd{});
    if (!dataplane::match::supported(simd)) {
        fmt::print(stderr, "--simd {}: this processor cannot; expected auto, portable or another\n",
                   simd_name);
        return leave(ExitCode::configuration);
    }
    const auto done = dataplane::run(*config, {.simd = simd, .share_cores = share_cores});
    if (!done) {
        spdlog::error("{}", done.error().message);
        return leave(done.error().code);
    }
    return leave(ExitCode::stopped);
}

}  // namespace

int main(int argc, char* argv[]) {
    try {
        spdlog::set_default_logger(spdlog::stderr_logger_mt("dataplane"));
        spdlog::set_pattern("%Y-%m-%d %H:%M:%S.%e %n %l: %v");
        std::string file;
        std::string simd = "auto";
        bool share_cores = false;
        CLI::App app{"The packet path of a flowtap box: forwards every frame, copies what is tapped."};
        app.add_option("--config", file, "configuration file (TOML)")->required();
        app.add_option("--simd", simd, "instructions that look up taps")
            ->check(CLI::IsMember({"auto", "avx512", "avx2", "portable"}))
            ->capture_default_str();
        app.add_flag(
            "--share-cores", share_cores,
            "workers on every core, and the manager beside one of them: for trials, since frames then "
            "wait while the manager runs");
        app.failure_message(flowtap::lib::usage_message);
        try {
            app.parse(argc, argv);
        } catch (const CLI::ParseError& error) {
            return app.exit(error) == 0 ? leave(ExitCode::stopped) : leave(ExitCode::configuration);
        }
        return start(file, simd, share_cores);
    } catch (const std::exception& error) {
        fmt::print(stderr, "flowtap-dataplane: {}\n", error.what());
        return leave(ExitCode::failure);
    }
}
