// An error that ends the process, with the exit code it ends with.
#pragma once

#include <string>

namespace flowtap::control::ssh {

enum class ExitCode : int {
    stopped = 0,        ///< as asked
    failure = 1,        ///< anything else
    configuration = 2,  ///< bad configuration or arguments
    privilege = 3,      ///< a missing privilege, which the message names
};

struct Failure {
    ExitCode code = ExitCode::failure;
    std::string message;  ///< what was found, and what would be right
};

}  // namespace flowtap::control::ssh
