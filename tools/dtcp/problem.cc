#include "tools/dtcp/problem.h"

namespace flowtap::tools::dtcp {

std::string_view to_string(Outcome outcome) {
    switch (outcome) {
        case Outcome::done:
            return "done";
        case Outcome::local:
            return "local";
        case Outcome::arguments:
            return "arguments";
        case Outcome::no_connection:
            return "no-connection";
        case Outcome::refused:
            return "refused";
        case Outcome::not_authentic:
            return "not-authentic";
        case Outcome::server_failure:
            return "server-failure";
        case Outcome::login_refused:
            return "login-refused";
        case Outcome::host_key:
            return "host-key";
        case Outcome::no_answer:
            return "no-answer";
    }
    return "unknown";
}

std::string_view exit_code_help() {
    return R"(Exit codes:
  0  done: the server answered 2xx and the answer's signature is right
  1  a local failure, such as a file that cannot be read
  2  wrong arguments
  3  no connection: not reachable, refused before the login, or no DTCP service behind it
  4  the server answered 4xx or 9xx: it refuses the request
  5  an answer came that is not authentic (wrong or no signature) or not DTCP
  6  the server answered any other code: it failed (5xx)
  7  the login was refused
  8  the server's host key is unknown, or is not the known one
  9  no answer came: whether the request was carried out is not known (use list).
     A server never answers a wrong key, sequence number or control source.)";
}

}  // namespace flowtap::tools::dtcp
