#include "dataplane/eal.h"

#include <fmt/format.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <spdlog/spdlog.h>

#include <cstdio>
#include <string_view>
#include <vector>

namespace flowtap::dataplane {
namespace {

/// A stdio stream's write function: DPDK writes whole messages, and says their level beside.
ssize_t write_to_log(void*, const char* text, std::size_t size) {
    std::string_view rest{text, size};
    while (!rest.empty() && (rest.back() == '\n' || rest.back() == ' ')) {
        rest.remove_suffix(1);
    }
    const bool error = rte_log_cur_msg_loglevel() <= static_cast<int>(RTE_LOG_ERR);
    spdlog::log(error ? spdlog::level::err : spdlog::level::warn, "DPDK: {}", rest);
    return static_cast<ssize_t>(size);
}

/// Never closed: DPDK's own threads may log until the process ends.
void redirect_log() {
    static FILE* const stream = [] {
        FILE* opened = fopencookie(nullptr, "w", {nullptr, write_to_log, nullptr, nullptr});
        if (opened != nullptr) {
            setvbuf(opened, nullptr, _IOLBF, 0);
        }
        return opened;
    }();
    if (stream != nullptr) {
        rte_openlog_stream(stream);
    }
}

}  // namespace

Result<Eal> Eal::start(std::span<const std::string> arguments) {
    redirect_log();
    // rte_eal_init writes into its argv.
    std::vector<std::string> copies{arguments.begin(), arguments.end()};
    std::vector<char*> pointers;
    for (std::string& argument : copies) {
        pointers.push_back(argument.data());
    }
    pointers.push_back(nullptr);
    if (rte_eal_init(static_cast<int>(copies.size()), pointers.data()) < 0) {
        return std::unexpected(
            Failure{ExitCode::failure,
                    fmt::format("DPDK did not start: {}; its own messages stand above; its arguments were {}",
                                rte_strerror(rte_errno), fmt::join(arguments, " "))});
    }
    return Eal{};
}

Eal::~Eal() {
    if (started_) {
        rte_eal_cleanup();
    }
}

}  // namespace flowtap::dataplane
