// The command line as data: one table gives the parser its commands and the help its text.
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace flowtap::tools {

struct Command {
    std::array<std::string_view, 2> words;  ///< as typed
    std::string_view request;               ///< what control is asked for
    std::string_view help;
};

inline constexpr std::array commands{
    Command{{"show", "health"}, "health", "state of both processes, counters of the DTCP service, alarms"},
    Command{{"show", "ports"}, "ports", "links, frames and losses of each port"},
    Command{{"show", "workers"}, "workers", "load and packet counters of each worker"},
    Command{{"show", "delivery"},
            "delivery",
            "tunnels and their keys, next hops, the kernel's traffic, copies of each destination, losses by "
            "cause"},
};

struct Option {
    std::string_view name;
    std::string_view value;  ///< what stands for its value in help; empty: it has none
    std::string_view help;
};

inline constexpr Option json_option{"--json", "", "print the answer as one JSON object"};
inline constexpr Option socket_option{"--socket", "PATH",
                                      "control's socket; default: ctl.sock in the run-dir"};
inline constexpr Option config_option{"--config", "FILE", "configuration that names the run-dir"};
inline constexpr Option help_option{"--help", "", "print this help"};
inline constexpr std::array options{json_option, socket_option, config_option, help_option};

/// What was typed.
struct Invocation {
    const Command* command = nullptr;
    bool help = false;
    bool json = false;
    std::string socket;
    std::string config;
    std::string error;  ///< what is wrong, for a person; empty: nothing
};

Invocation parse(std::span<const std::string_view> arguments);

std::string help();

}  // namespace flowtap::tools
