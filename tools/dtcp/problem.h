// What can go wrong with a request, by the exit code that a script sees.
#pragma once

#include <string>
#include <string_view>

namespace flowtap::tools::dtcp {

enum class Outcome : int {
    done = 0,
    local = 1,  ///< a file that cannot be read or written
    arguments = 2,
    no_connection = 3,   ///< not reachable, refused before the login, or the subsystem is not served
    refused = 4,         ///< answered 4xx or 9xx: the request is wrong, or the source may not do it
    not_authentic = 5,   ///< an answer with a wrong signature, or none, or ill-formed
    server_failure = 6,  ///< answered with any other code: 5xx
    login_refused = 7,
    host_key = 8,   ///< unknown or changed
    no_answer = 9,  ///< the request was sent: whether it was carried out is not known
};

/// For --json.
std::string_view to_string(Outcome outcome);

/// The table of --help.
std::string_view exit_code_help();

struct Problem {
    Outcome outcome = Outcome::local;
    std::string message;  ///< one line for a person
};

}  // namespace flowtap::tools::dtcp
