#include "crypto/engine.h"
#include "crypto/inbound_sa.h"
#include "crypto/opener.h"
#include "lib/sa_file.h"
#include "tools/receive/capture.h"
#include "tools/receive/options.h"
#include "tools/receive/originals.h"
#include "tools/receive/receiver.h"
#include "tools/receive/report.h"
#include "tools/receive/statistics_lines.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <sys/signalfd.h>
#include <unistd.h>
#include <utility>

namespace flowtap::tools::receive {
namespace {

using Clock = std::chrono::steady_clock;

struct Failure {
    ExitCode code = ExitCode::bad_input;
    std::string message;
};

/// SIGINT and SIGTERM as something to poll, so that neither interrupts a write.
class StopSignals {
  public:
    StopSignals() {
        sigset_t signals;
        sigemptyset(&signals);
        sigaddset(&signals, SIGINT);
        sigaddset(&signals, SIGTERM);
        sigprocmask(SIG_BLOCK, &signals, nullptr);
        descriptor_ = ::signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    }
    StopSignals(const StopSignals&) = delete;
    StopSignals& operator=(const StopSignals&) = delete;
    ~StopSignals() { ::close(descriptor_); }

    int descriptor() const { return descriptor_; }
    bool arrived() const {
        signalfd_siginfo info{};
        return ::read(descriptor_, &info, sizeof(info)) == sizeof(info);
    }

  private:
    int descriptor_ = -1;
};

void say(std::string_view message) {
    fmt::print(stderr, "flowtap-receive: {}\n", message);
}

std::expected<Receiver, Failure> make_receiver(const Options& options) {
    const auto sa = lib::load_sa_file(options.sa);
    if (!sa) {
        std::string message;
        for (const auto& error : sa.error()) {
            message += fmt::format("{}{}", message.empty() ? "" : "\n", lib::to_string(error));
        }
        return std::unexpected(Failure{ExitCode::bad_input, message});
    }
    auto engine = crypto::Engine::create();
    if (!engine) {
        return std::unexpected(Failure{ExitCode::bad_input, engine.error()});
    }
    auto inbound = crypto::InboundSa::create(
        *engine, {.spi = sa->spi,
                  .suite = sa->suite,
                  .key = sa->key.bytes(),
                  .window = options.replay_window != 0 ? std::optional(options.replay_window) : std::nullopt,
                  .extended_sequence = sa->extended_sequence,
                  .highest = options.highest_sequence});
    if (!inbound) {
        const bool memory = inbound.error().cause == crypto::SaError::Cause::memory;
        return std::unexpected(
            Failure{memory ? ExitCode::missing_privilege : ExitCode::bad_input, inbound.error().message});
    }
    auto opener = crypto::Opener::create(std::move(*engine));
    if (!opener) {
        return std::unexpected(Failure{ExitCode::missing_privilege, opener.error()});
    }
    return Receiver(std::move(*opener), std::move(*inbound), options.shims);
}

Failure capture_failure(const CaptureError& error) {
    return {error.privilege ? ExitCode::missing_privilege : ExitCode::bad_input, error.message};
}

std::optional<Failure> failure_of(const std::expected<void, std::string>& done) {
    return done ? std::nullopt : std::optional(Failure{ExitCode::bad_input, done.error()});
}

/// Reads until the options, the file's end or a signal say stop; what came is in the receiver's statistics,
/// whatever is returned.
std::optional<Failure> receive_all(const Options& options, Source& source, Originals& originals,
                                   StatisticsLines& lines, Receiver& receiver, const StopSignals& stop) {
    const Statistics& statistics = receiver.statistics();
    auto last_esp = Clock::now();
    const std::chrono::duration<double> idle(options.idle.value_or(0));
    while (!stop.arrived() && statistics.copies.packets < options.count.value_or(UINT64_MAX)) {
        // Written packets are on disk whenever the receiver waits, so that others may read along.
        Source::Next next = source.next(std::chrono::milliseconds(0), stop.descriptor());
        if (next.state == Source::State::nothing) {
            if (auto failure = failure_of(originals.tend())) {
                return failure;
            }
            next = source.next(std::chrono::milliseconds(100), stop.descriptor());
        }
        if (lines.due()) {
            if (auto failure = failure_of(lines.write(statistics, source.dropped()))) {
                return failure;
            }
        }
        switch (next.state) {
            case Source::State::frame: {
                const auto before = statistics.esp_packets;
                const auto original = receiver.receive(next.frame.bytes, source.link_type());
                if (original) {
                    if (auto failure = failure_of(originals.write(*original, next.frame.time))) {
                        return failure;
                    }
                }
                if (statistics.esp_packets != before) {
                    last_esp = Clock::now();
                }
                break;
            }
            case Source::State::nothing:
                break;
            case Source::State::end:
                return std::nullopt;
            case Source::State::failed:
                return Failure{ExitCode::bad_input, next.message};
        }
        if (options.idle && Clock::now() - last_esp > idle) {
            break;
        }
    }
    return std::nullopt;
}

int fail(const Failure& failure) {
    say(failure.message);
    return std::to_underlying(failure.code);
}

int run(const Options& options) {
    const StopSignals stop;
    auto receiver = make_receiver(options);
    if (!receiver) {
        return fail(receiver.error());
    }
    auto source =
        options.interface.empty() ? Source::file(options.file) : Source::interface(options.interface);
    if (!source) {
        return fail(capture_failure(source.error()));
    }
    auto originals = Originals::create(options.write, options.rotation);
    if (!originals) {
        return fail(capture_failure(originals.error()));
    }
    StatisticsLines lines(options.interval, options.statistics);
    if (!options.interface.empty()) {
        say(fmt::format("ready, capturing on {}", options.interface));
    }

    auto failure = receive_all(options, *source, *originals, lines, *receiver, stop);
    if (auto closed = failure_of(originals->close()); closed && !failure) {
        failure = closed;
    }
    const std::uint64_t dropped = source->dropped();
    const Statistics& statistics = receiver->statistics();
    if (lines.wanted()) {
        if (auto written = failure_of(lines.write(statistics, dropped)); written && !failure) {
            failure = written;
        }
    } else {
        fmt::print("{}", options.json ? json_report(statistics, dropped) : text_report(statistics, dropped));
    }
    std::fflush(stdout);
    if (failure) {
        return fail(*failure);
    }
    return std::to_underlying(statistics.clean() && dropped == 0 ? ExitCode::ok : ExitCode::gaps_or_refusals);
}

}  // namespace
}  // namespace flowtap::tools::receive

int main(int argc, char* argv[]) {
    const auto options = flowtap::tools::receive::parse_options(argc, argv);
    return options ? flowtap::tools::receive::run(*options) : options.error().code;
}
