// How a program of this folder is told what to do by a test: a JSON object a line on its standard input, one
// for an answer on its standard output (test/support/link_program.py).
#pragma once

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <poll.h>
#include <string>
#include <unistd.h>

namespace flowtap::test {

[[noreturn]] inline void die(const std::string& why) {
    fmt::print(stderr, "{}: {}\n", program_invocation_short_name, why);
    std::exit(2);
}

inline void tell(const nlohmann::json& answer) {
    fmt::print("{}\n", answer.dump());
    std::fflush(stdout);
}

class LineCommands {
  public:
    bool ended() const { return ended_; }

    /// Waits so many milliseconds for input, -1: until there is some; calls obey(command, "do") for each.
    template <typename Obey>
    void read(int patience, Obey obey) {
        pollfd input{STDIN_FILENO, POLLIN, 0};
        if (poll(&input, 1, patience) <= 0) {
            return;
        }
        std::array<char, 4096> part;
        const ssize_t size = ::read(STDIN_FILENO, part.data(), part.size());
        ended_ = size <= 0;
        text_.append(part.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
        for (auto end = text_.find('\n'); end != std::string::npos; end = text_.find('\n')) {
            const auto command = nlohmann::json::parse(text_.substr(0, end));
            obey(command, command.at("do").get<std::string>());
            text_.erase(0, end + 1);
        }
    }

  private:
    std::string text_;
    bool ended_ = false;
};

}  // namespace flowtap::test
