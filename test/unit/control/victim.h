// A child process that is killed at a moment of chance, and what it had said until then.
#pragma once

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <sys/mman.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace flowtap::test {

/// Memory that parent and child share: what the child wrote before it was killed stays.
template <typename Content>
class Witness {
  public:
    Witness() {
        void* const memory =
            ::mmap(nullptr, sizeof(Content), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) {
            throw std::runtime_error("mmap");
        }
        content_ = new (memory) Content;
    }
    Witness(const Witness&) = delete;
    Witness& operator=(const Witness&) = delete;
    ~Witness() { ::munmap(content_, sizeof(Content)); }

    Content* operator->() { return content_; }
    Content& operator*() { return *content_; }

  private:
    Content* content_;
};

/// Runs `work` in a child and kills it `after` it has called its argument, to say that it begins.
inline void run_and_kill(std::chrono::microseconds after,
                         const std::function<void(const std::function<void()>&)>& work) {
    Witness<std::atomic<bool>> begun;
    const pid_t child = ::fork();
    if (child < 0) {
        throw std::runtime_error("fork");
    }
    if (child == 0) {
        work([&] { begun->store(true); });
        ::_exit(0);
    }
    while (!begun->load()) {
        std::this_thread::yield();
    }
    std::this_thread::sleep_for(after);
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
}

}  // namespace flowtap::test
