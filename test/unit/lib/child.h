// Runs a function in a forked child and says how the child ended.
#pragma once

#include <csignal>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace flowtap::test {

struct ChildEnd {
    int signal = 0;  ///< that killed it, or 0
    int code = 0;    ///< its exit code, if nothing killed it
};

inline ChildEnd wait_for_child(pid_t child) {
    int status = 0;
    while (::waitpid(child, &status, 0) < 0) {
    }
    if (WIFSIGNALED(status)) {
        return {.signal = WTERMSIG(status)};
    }
    return {.code = WEXITSTATUS(status)};
}

/// The child ends with code 0 when the function returns. Its signal handlers are the default ones, also where
/// a sanitizer or the test framework has put its own, and it dumps no core.
template <typename Function>
pid_t start_child(Function function) {
    const pid_t child = ::fork();
    if (child == 0) {
        for (const int number : {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGTERM}) {
            static_cast<void>(std::signal(number, SIG_DFL));
        }
        const rlimit none{};
        ::setrlimit(RLIMIT_CORE, &none);
        function();
        ::_exit(0);
    }
    return child;
}

template <typename Function>
ChildEnd run_in_child(Function function) {
    return wait_for_child(start_child(function));
}

}  // namespace flowtap::test
