// flowtapctl: the box's command line, for people and for scripts. Asks flowtap-control over its unix socket.
#include "lib/config.h"
#include "lib/file_descriptor.h"
#include "tools/flowtapctl/grammar.h"
#include "tools/flowtapctl/tables.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <expected>
#include <filesystem>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#include <vector>

namespace {

namespace lib = flowtap::lib;
namespace tools = flowtap::tools;

enum class ExitCode : int { done = 0, failure = 1, arguments = 2, permission = 3 };

struct Trouble {
    ExitCode exit = ExitCode::failure;
    std::string message;
};

/// Control answers at once or not at all.
constexpr timeval patience{10, 0};

std::string no_permission(const std::string& path) {
    return fmt::format(
        "{}: no permission: only root and members of the group \"flowtap\" may ask (add an account with: "
        "usermod --append --groups flowtap ACCOUNT)",
        path);
}

std::expected<std::string, Trouble> socket_path(const tools::Invocation& invocation) {
    if (!invocation.socket.empty()) {
        return invocation.socket;
    }
    if (invocation.config.empty()) {
        return (lib::ControlConfig{}.run_dir / "ctl.sock").string();
    }
    const auto config = lib::load_config(invocation.config);
    if (!config) {
        std::string text;
        for (const auto& error : config.error()) {
            text += text.empty() ? "" : "\n";
            text += lib::to_string(error);
        }
        return std::unexpected{Trouble{ExitCode::arguments, text}};
    }
    return (config->control.run_dir / "ctl.sock").string();
}

std::expected<std::string, Trouble> ask(const std::string& path, const std::string& request) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof(address.sun_path)) {
        return std::unexpected{
            Trouble{ExitCode::arguments, fmt::format("{}: too long for a socket's path", path)}};
    }
    std::memcpy(address.sun_path, path.data(), path.size());
    const lib::FileDescriptor socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
        if (errno == EACCES || errno == EPERM) {
            return std::unexpected{Trouble{ExitCode::permission, no_permission(path)}};
        }
        return std::unexpected{
            Trouble{ExitCode::failure,
                    fmt::format("{}: {}: flowtap-control is not running, or serves another run-dir (--config "
                                "FILE or --socket PATH says which)",
                                path, std::strerror(errno))}};
    }
    if (::send(socket.get(), request.data(), request.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(request.size())) {
        return std::unexpected{Trouble{ExitCode::permission, no_permission(path)}};
    }
    std::string answer;
    std::array<char, 65'536> buffer;
    while (!answer.ends_with('\n')) {
        const ssize_t count = ::recv(socket.get(), buffer.data(), buffer.size(), 0);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            return std::unexpected{
                Trouble{ExitCode::failure, fmt::format("{}: no answer: {}", path, std::strerror(errno))}};
        }
        if (count == 0) {
            // It shuts the door on whom it may not answer.
            return std::unexpected{Trouble{ExitCode::permission, no_permission(path)}};
        }
        answer.append(buffer.data(), static_cast<std::size_t>(count));
    }
    return answer;
}

int leave(const Trouble& trouble) {
    fmt::print(stderr, "flowtapctl: {}\n", trouble.message);
    return static_cast<int>(trouble.exit);
}

}  // namespace

int main(int argc, char** argv) {
    const std::vector<std::string_view> arguments(argv + 1, argv + argc);
    const auto invocation = tools::parse(arguments);
    if (invocation.help) {
        fmt::print("{}", tools::help());
        return static_cast<int>(ExitCode::done);
    }
    if (!invocation.error.empty()) {
        fmt::print(stderr, "flowtapctl: {}\n\n{}", invocation.error, tools::help());
        return static_cast<int>(ExitCode::arguments);
    }
    const auto path = socket_path(invocation);
    if (!path) {
        return leave(path.error());
    }
    const nlohmann::json request{{"command", invocation.command->words[0]},
                                 {"what", invocation.command->request}};
    const auto line = ask(*path, request.dump() + "\n");
    if (!line) {
        return leave(line.error());
    }
    const auto answer = nlohmann::json::parse(*line, nullptr, false);
    if (!answer.is_object() || !answer.contains("ok")) {
        return leave({ExitCode::failure, "flowtap-control gave an answer that is none"});
    }
    if (answer.at("ok") != true) {
        return leave({ExitCode::failure, answer.value("error", "refused")});
    }
    const auto view = answer.value("view", nlohmann::json::object());
    fmt::print("{}", invocation.json ? view.dump() + "\n" : tools::render(invocation.command->request, view));
    return static_cast<int>(ExitCode::done);
}
