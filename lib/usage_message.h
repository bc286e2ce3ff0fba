// What a program says of a command line that it cannot use.
#pragma once

#include <CLI/CLI.hpp>

#include <string>

namespace flowtap::lib {

/// For CLI::App::failure_message(). CLI11 looks for what is missing before it looks at what it does not know,
/// so a misspelt option would be reported as a missing one: here it is named.
inline std::string usage_message(const CLI::App* app, const CLI::Error& error) {
    const auto unknown = app->remaining(true);
    if (error.get_name() == "RequiredError" && !unknown.empty()) {
        return CLI::FailureMessage::simple(app, CLI::ExtrasError(unknown));
    }
    return CLI::FailureMessage::simple(app, error);
}

}  // namespace flowtap::lib
