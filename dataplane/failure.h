// Why the dataplane cannot start or go on: a sentence for the operator, and the exit code that goes with it.
#pragma once

#include <expected>
#include <string>

namespace flowtap::dataplane {

enum class ExitCode : int { stopped = 0, failure = 1, configuration = 2, privilege = 3 };

struct Failure {
    ExitCode code = ExitCode::failure;
    std::string message;  ///< what, where, and what would be right
};

template <typename Value>
using Result = std::expected<Value, Failure>;

}  // namespace flowtap::dataplane
