#include "dataplane/eal_arguments.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sched.h>

namespace flowtap::dataplane {
namespace {

std::uint64_t read_number(const std::filesystem::path& file) {
    std::ifstream stream(file);
    std::uint64_t value = 0;
    stream >> value;
    return stream ? value : 0;
}

std::unexpected<Failure> wrong(const lib::Config& config, std::string message) {
    return std::unexpected(
        Failure{ExitCode::configuration, fmt::format("{}: [dataplane] {}", config.file.string(), message)});
}

}  // namespace

Machine this_machine() {
    Machine machine;
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        for (std::uint32_t core = 0; core < CPU_SETSIZE; ++core) {
            if (CPU_ISSET(core, &set)) {
                machine.cores.push_back(core);
            }
        }
    }
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator("/sys/kernel/mm/hugepages", none)) {
        const std::string name = entry.path().filename();  // hugepages-2048kB
        const auto digits = name.find_first_of("0123456789");
        const std::uint64_t kib = digits == std::string::npos ? 0 : std::stoull(name.substr(digits));
        machine.free_huge_mib += read_number(entry.path() / "free_hugepages") * kib / 1024;
    }
    return machine;
}

Result<std::uint32_t> manager_core(const lib::Config& config, const Machine& machine) {
    const auto usable = [&](std::uint32_t core) { return std::ranges::count(machine.cores, core) != 0; };
    const auto cores = fmt::format("{}", fmt::join(machine.cores, ", "));
    for (const std::uint32_t core : config.dataplane.workers) {
        if (!usable(core)) {
            return wrong(config, fmt::format("workers: this process may not run on core {}; it may on {}",
                                             core, cores));
        }
    }
    const auto is_worker = [&](std::uint32_t core) {
        return std::ranges::count(config.dataplane.workers, core) != 0;
    };
    if (const auto manager = config.dataplane.manager) {
        if (!usable(*manager)) {
            return wrong(config, fmt::format("manager: this process may not run on core {}; it may on {}",
                                             *manager, cores));
        }
        if (is_worker(*manager) && machine.cores.size() > 1) {
            return wrong(config, fmt::format("manager: core {} is a worker's; expected another of {}",
                                             *manager, cores));
        }
        return *manager;
    }
    if (const auto free = std::ranges::find_if_not(machine.cores, is_worker); free != machine.cores.end()) {
        return *free;
    }
    if (machine.cores.size() > 1 && !machine.share_cores) {
        return wrong(config, fmt::format("workers: every core ({}) is a worker's; expected one left for the "
                                         "manager, or --share-cores",
                                         cores));
    }
    return config.dataplane.workers.front();
}

Result<std::vector<std::string>> eal_arguments(const lib::Config& config, std::span<const Device> devices,
                                               const Machine& machine, std::uint64_t unique) {
    const auto manager = manager_core(config, machine);
    if (!manager) {
        return std::unexpected(manager.error());
    }
    const auto& dataplane = config.dataplane;
    std::string lcores = fmt::format("0@{}", *manager);
    for (std::size_t worker = 0; worker < dataplane.workers.size(); ++worker) {
        lcores += fmt::format(",{}@{}", worker + 1, dataplane.workers[worker]);
    }
    std::vector<std::string> arguments{
        "flowtap-dataplane",
        "--lcores=" + lcores,
        "--main-lcore=0",
        fmt::format("-m{}", dataplane.memory_mib),
        fmt::format("--file-prefix=flowtap-{}", unique),
        "--iova-mode=va",
        "--no-telemetry",
        "--log-level=warning",
    };
    if (dataplane.huge_pages) {
        if (machine.free_huge_mib < dataplane.memory_mib) {
            return std::unexpected(Failure{
                ExitCode::failure,
                fmt::format(
                    "{}: [dataplane] memory-mib = {} in huge pages, but {} MiB are free: run `sysctl -w "
                    "vm.nr_hugepages={}` as root, or write huge-pages = false (slower)",
                    config.file.string(), dataplane.memory_mib, machine.free_huge_mib,
                    (dataplane.memory_mib + 1) / 2)});
        }
        arguments.emplace_back("--in-memory");
    } else {
        arguments.emplace_back("--no-huge");
        arguments.emplace_back("--no-shconf");
    }
    bool any_pci = false;
    for (const Device& device : devices) {
        if (device.pci) {
            arguments.push_back("--allow=" + device.text());
            any_pci = true;
        }
    }
    if (!any_pci) {
        arguments.emplace_back("--no-pci");
    }
    return arguments;
}

}  // namespace flowtap::dataplane
