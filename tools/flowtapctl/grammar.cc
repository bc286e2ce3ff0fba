#include "tools/flowtapctl/grammar.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>

namespace flowtap::tools {

namespace {

std::string spelled(const Command& command) {
    return fmt::format("{} {}", command.words[0], command.words[1]);
}

std::string spelled(const Option& option) {
    return option.value.empty() ? std::string{option.name} : fmt::format("{} {}", option.name, option.value);
}

}  // namespace

Invocation parse(std::span<const std::string_view> arguments) {
    Invocation invocation;
    std::vector<std::string_view> words;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const auto argument = arguments[i];
        if (!argument.starts_with('-')) {
            words.push_back(argument);
            continue;
        }
        const auto equals = argument.find('=');
        const auto name = argument.substr(0, equals);
        const auto option = std::ranges::find(options, name == "-h" ? help_option.name : name, &Option::name);
        if (option == options.end()) {
            invocation.error = fmt::format("unknown option {}", name);
            return invocation;
        }
        std::string_view value;
        if (!option->value.empty()) {
            if (equals != std::string_view::npos) {
                value = argument.substr(equals + 1);
            } else if (i + 1 < arguments.size()) {
                value = arguments[++i];
            }
            if (value.empty()) {
                invocation.error = fmt::format("{} needs a value: {}", name, spelled(*option));
                return invocation;
            }
        } else if (equals != std::string_view::npos) {
            invocation.error = fmt::format("{} takes no value", name);
            return invocation;
        }
        if (option->name == json_option.name) {
            invocation.json = true;
        } else if (option->name == socket_option.name) {
            invocation.socket = value;
        } else if (option->name == config_option.name) {
            invocation.config = value;
        } else {
            invocation.help = true;
        }
    }
    const auto command = std::ranges::find_if(
        commands, [&](const Command& known) { return std::ranges::equal(known.words, words); });
    if (command != commands.end()) {
        invocation.command = &*command;
    } else if (!invocation.help) {
        std::string typed;
        for (const auto word : words) {
            typed += fmt::format("{}{}", typed.empty() ? "" : " ", word);
        }
        invocation.error = typed.empty() ? "no command" : fmt::format("unknown command \"{}\"", typed);
    }
    return invocation;
}

std::string help() {
    std::size_t width = 0;
    for (const auto& command : commands) {
        width = std::max(width, spelled(command).size());
    }
    for (const auto& option : options) {
        width = std::max(width, spelled(option).size());
    }
    std::string text = "usage: flowtapctl COMMAND [OPTION ...]\n\ncommands:\n";
    for (const auto& command : commands) {
        text += fmt::format("  {:<{}}  {}\n", spelled(command), width, command.help);
    }
    text += "\noptions:\n";
    for (const auto& option : options) {
        text += fmt::format("  {:<{}}  {}\n", spelled(option), width, option.help);
    }
    text +=
        "\nexit codes: 0 done, 1 control cannot be asked or refuses, 2 wrong arguments, 3 no permission\n";
    return text;
}

}  // namespace flowtap::tools
