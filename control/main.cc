// flowtap-control: tasking, security associations and the services of the box.
#include "control/application.h"
#include "control/lease_store.h"
#include "control/sequence_store.h"
#include "lib/config.h"
#include "lib/usage_message.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdio>
#include <exception>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace {

namespace control = flowtap::control;
namespace lib = flowtap::lib;
using control::ExitCode;

int leave(const control::Trouble& trouble) {
    fmt::print(stderr, "flowtap-control: {}\n", trouble.message);
    return static_cast<int>(trouble.exit);
}

/// Records the keys of the configuration that have no counter record as new, and ends.
int record_new_keys(const lib::Config& config) {
    auto opened = control::open_keys(config);
    if (!opened) {
        return leave(opened.error());
    }
    if (auto dropped = control::drop_privileges(opened->account); !dropped) {
        return leave(dropped.error());
    }
    auto store = control::LeaseStore::open(config.control.state_dir);
    if (!store) {
        return leave({ExitCode::failure, store.error()});
    }
    std::vector<control::KeyDigest> keys;
    for (const auto& sa : opened->sas.sealing) {  // what opens takes no counters
        keys.push_back(sa.digest);
    }
    const auto recorded = store->record_new(keys);
    if (!recorded) {
        return leave({ExitCode::failure, recorded.error()});
    }
    fmt::print("{} new keys recorded, {} known already\n", *recorded, keys.size() - *recorded);
    auto sequences = control::SequenceStore::open(config.control.state_dir, opened->sources);
    if (!sequences) {
        return leave({ExitCode::failure, sequences.error()});
    }
    const auto fresh = sequences->record_new();
    if (!fresh) {
        return leave({ExitCode::failure, fresh.error()});
    }
    if (*fresh != 0) {
        fmt::print("{} new keys of UDP sources recorded\n", *fresh);
    }
    return static_cast<int>(ExitCode::stopped);
}

/// Forgets which sequence numbers of a source were seen, and ends.
int reset_sequence(const lib::Config& config, const std::string& name, std::optional<std::uint64_t> after) {
    auto opened = control::open_keys(config);
    if (!opened) {
        return leave(opened.error());
    }
    if (auto dropped = control::drop_privileges(opened->account); !dropped) {
        return leave(dropped.error());
    }
    const auto* const source = opened->sources.find(name);
    if (source == nullptr || !source->config->udp) {
        return leave(
            {ExitCode::configuration, "--reset-sequence: the name of a source with `udp = true` is needed"});
    }
    auto sequences = control::SequenceStore::open(config.control.state_dir, opened->sources);
    if (!sequences) {
        return leave({ExitCode::failure, sequences.error()});
    }
    if (auto done = sequences->reset(source->index, after); !done) {
        return leave({ExitCode::failure, done.error()});
    }
    fmt::print("reset; {}\n", after ? fmt::format("the next number is {}, or up to 255 more", *after + 1)
                                    : "the next number may be any");
    return static_cast<int>(ExitCode::stopped);
}

int serve(const lib::Config& config) {
    auto opened = control::open_all(config);
    if (!opened) {
        return leave(opened.error());
    }
    if (auto dropped = control::drop_privileges(opened->account); !dropped) {
        return leave(dropped.error());
    }
    for (const auto& warning : control::legacy_warnings(opened->sas, config)) {
        spdlog::warn("{}", warning);
    }
    auto ids = control::CriteriaIds::open(config.control.state_dir);
    if (!ids) {
        return leave({ExitCode::failure, ids.error()});
    }
    control::Application application{config, std::move(*opened), std::move(*ids)};
    application.run();
    return static_cast<int>(ExitCode::stopped);
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"The control process of flowtap: DTCP service, taps, security associations.",
                 "flowtap-control"};
    std::filesystem::path file;
    bool new_keys = false;
    app.add_option("--config", file, "The configuration file")->required();
    app.add_flag(
        "--new-keys", new_keys,
        "Record the keys that have no record yet, of tunnels and of UDP sources, as never used, and end. "
        "Never for a key that has been used before, on this box or another");
    std::string reset;
    std::optional<std::uint64_t> after;
    auto* const reset_option =
        app.add_option("--reset-sequence", reset,
                       "Forget which sequence numbers this source has used on UDP, and end: whatever number "
                       "it sends next is taken, an old message's too, unless --after says more");
    app.add_option("--after", after, "With --reset-sequence: only numbers after this one are taken")
        ->needs(reset_option);
    app.failure_message(lib::usage_message);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? static_cast<int>(ExitCode::stopped)
                                    : static_cast<int>(ExitCode::configuration);
    }
    const auto config = lib::load_config(file);
    if (!config) {
        for (const auto& error : config.error()) {
            fmt::print(stderr, "{}\n", lib::to_string(error));
        }
        return static_cast<int>(ExitCode::configuration);
    }
    spdlog::set_default_logger(spdlog::stderr_color_mt("flowtap-control"));
    spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %n %l: %v");
    try {
        return new_keys         ? record_new_keys(*config)
               : !reset.empty() ? reset_sequence(*config, reset, after)
                                : serve(*config);
    } catch (const std::exception& error) {
        return leave({ExitCode::failure, error.what()});
    }
}
