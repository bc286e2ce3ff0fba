// The requests as command-line syntax: one table, for the command line itself and for each line of a batch or
// session.
#pragma once

#include "lib/dtcp/message.h"
#include "lib/dtcp/name.h"

#include <cstdint>
#include <expected>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class App;
}

namespace flowtap::tools::dtcp {

struct NamedValue {
    std::string name;
    std::string value;
};

struct RequestSpec {
    lib::dtcp::Method method = lib::dtcp::Method::noop;
    lib::dtcp::Version version = lib::dtcp::version_0_7;
    std::vector<NamedValue> parameters;  ///< in the order of the message
    std::optional<std::uint64_t> seq;    ///< unset: the next of the state file
};

/// "add"
std::string command_name(lib::dtcp::Method method);

/// Whether doing it twice is the same as doing it once, so that it may be sent again when its answer is lost.
bool is_safe(lib::dtcp::Method method);

/// The subcommands of the requests in a CLI11 application, and what it reads for them.
class RequestCommands {
  public:
    /// `app` must outlive this and stay where it is.
    explicit RequestCommands(CLI::App& app);
    ~RequestCommands();

    /// Their applications, for options of the caller's own.
    std::vector<CLI::App*> commands() const;

    /// Before every parse.
    void reset();
    /// After a parse: the request, if a subcommand of one was given.
    std::optional<RequestSpec> take() const;

  private:
    struct Raw;
    struct Command {
        lib::dtcp::Method method;
        CLI::App* app;
    };
    std::unique_ptr<Raw> raw_;  // CLI11 holds on to its fields
    std::vector<Command> commands_;
};

/// Requests from lines of text.
class LineParser {
  public:
    LineParser();
    ~LineParser();

    /// Nothing for an empty line or a comment. The error is a sentence or a few.
    std::expected<std::optional<RequestSpec>, std::string> parse(std::string_view line);

  private:
    std::unique_ptr<CLI::App> app_;
    std::unique_ptr<RequestCommands> commands_;
};

}  // namespace flowtap::tools::dtcp
