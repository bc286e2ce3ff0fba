#include "dataplane/privileges.h"

#include <fmt/format.h>
#include <rte_alarm.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <sys/capability.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <thread>
#include <unistd.h>

namespace flowtap::dataplane {
namespace {

/// For what libcap allocates, sets and texts alike.
struct FreeCapabilities {
    void operator()(void* object) const noexcept { cap_free(object); }
};
using Capabilities = std::unique_ptr<std::remove_pointer_t<cap_t>, FreeCapabilities>;

constexpr rlim_t lockable_for_keys = 8U << 20U;

Failure system_failure(std::string_view what) {
    return {ExitCode::failure, fmt::format("{}: {}", what, std::strerror(errno))};
}

std::string name_of(cap_value_t capability) {
    const std::unique_ptr<char, FreeCapabilities> text{cap_to_name(capability)};
    std::string name = text ? text.get() : fmt::format("capability {}", capability);
    for (char& c : name) {
        c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    }
    return name;
}

/// All but `keep`.
bool clear_own_capabilities(std::optional<cap_value_t> keep = std::nullopt) {
    const Capabilities left{cap_init()};
    if (!left) {
        return false;
    }
    for (const cap_flag_t set : {CAP_PERMITTED, CAP_EFFECTIVE}) {
        if (keep && cap_set_flag(left.get(), set, 1, &*keep, CAP_SET) != 0) {
            return false;
        }
    }
    return cap_set_proc(left.get()) == 0;
}

/// -1 as an lcore's return value: the thread kept something.
int clear_on_lcore(void*) {
    return clear_own_capabilities() ? 0 : -1;
}

void clear_on_interrupt_thread(void* done) {
    clear_own_capabilities();
    static_cast<std::atomic<bool>*>(done)->store(true, std::memory_order_release);
}

/// The name of the first thread of this process that has an effective or permitted capability, other than
/// `kept` in the calling one; empty: none has.
std::string thread_with_capabilities(std::optional<cap_value_t> kept) {
    const std::string own = std::to_string(gettid());
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
        std::ifstream status(task.path() / "status");
        std::string name;
        const bool may = kept && task.path().filename() == own;
        const std::uint64_t allowed = may ? std::uint64_t{1} << *kept : 0;
        for (std::string line; std::getline(status, line);) {
            if (line.starts_with("Name:")) {
                name = line.substr(6);
            }
            const bool set = line.starts_with("CapEff:") || line.starts_with("CapPrm:");
            if (set && (std::stoull(line.substr(8), nullptr, 16) & ~allowed) != 0) {
                return name;
            }
        }
    }
    return {};
}

}  // namespace

Result<void> require_capabilities(const lib::Config& config, std::span<const Device> devices) {
    const Capabilities own{cap_get_proc()};
    std::string missing;
    for (std::size_t i = 0; i < devices.size(); ++i) {
        const std::uint64_t memory = std::uint64_t{config.dataplane.memory_mib} << 20U;
        for (const cap_value_t capability : required_capabilities(devices[i], memory)) {
            cap_flag_value_t set = CAP_CLEAR;
            if (!own || cap_get_flag(own.get(), capability, CAP_EFFECTIVE, &set) != 0 || set == CAP_CLEAR) {
                missing += fmt::format("{}{} for port \"{}\" ({})", missing.empty() ? "" : ", ",
                                       name_of(capability), config.ports[i].name, devices[i].text());
            }
        }
    }
    cap_flag_value_t set = CAP_CLEAR;
    if (!config.delivery.interface.empty() &&
        (!own || cap_get_flag(own.get(), CAP_NET_ADMIN, CAP_EFFECTIVE, &set) != 0 || set == CAP_CLEAR)) {
        missing += fmt::format("{}CAP_NET_ADMIN for [delivery] interface \"{}\"", missing.empty() ? "" : ", ",
                               config.delivery.interface);
    }
    if (missing.empty()) {
        return {};
    }
    return std::unexpected(Failure{
        ExitCode::privilege, fmt::format("missing {}; grant it by AmbientCapabilities= of the systemd unit, "
                                         "setpriv or setcap, or start as root: it is given up after start",
                                         missing)});
}

Result<void> restrict_process() {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return std::unexpected(system_failure("no_new_privs"));
    }
    const rlimit no_core{0, 0};
    if (setrlimit(RLIMIT_CORE, &no_core) != 0) {
        return std::unexpected(system_failure("core size limit"));
    }
    rlimit lockable{};
    if (getrlimit(RLIMIT_MEMLOCK, &lockable) == 0 && lockable.rlim_cur < lockable_for_keys) {
        lockable.rlim_cur = lockable_for_keys;
        lockable.rlim_max = std::max(lockable.rlim_max, lockable_for_keys);
        setrlimit(RLIMIT_MEMLOCK, &lockable);  // refused: an SA that finds no room says so later
    }
    return {};
}

Result<void> drop_capabilities(std::optional<cap_value_t> keep) {
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
        return std::unexpected(system_failure("PR_SET_DUMPABLE"));
    }
    if (!clear_own_capabilities(keep)) {
        return std::unexpected(system_failure(keep ? "keeping " + name_of(*keep) : "giving up capabilities"));
    }
    rte_eal_mp_remote_launch(clear_on_lcore, nullptr, SKIP_MAIN);
    rte_eal_mp_wait_lcore();

    // DPDK's interrupt thread runs alarms; it has no other door.
    std::atomic<bool> done = false;
    if (const int result = rte_eal_alarm_set(1, clear_on_interrupt_thread, &done); result != 0) {
        return std::unexpected(Failure{ExitCode::failure, "DPDK's interrupt thread cannot be reached"});
    }
    while (!done.load(std::memory_order_acquire)) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    if (const std::string thread = thread_with_capabilities(keep); !thread.empty()) {
        return std::unexpected(
            Failure{ExitCode::failure,
                    fmt::format("thread \"{}\" still has capabilities after they were dropped", thread)});
    }
    return {};
}

}  // namespace flowtap::dataplane
