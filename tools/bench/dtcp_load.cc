// dtcp-load: a mediation device made of lines. Reads one JSON command a line, answers with one JSON object a
// line. One SSH session to a gate; copies are read from an interface.
//
//   {"do":"fill","first":0,"count":1000,"window":1024,"cdest":"bench"}
//       ADDs host taps of 172.16.0.0/12, signed beforehand, up to `window` of them unanswered at a time.
//       -> {"seconds":0.05,"us":[...]}            from the first byte sent to the last answer; of each ADD,
//       from its
//                                                 hand-over to SSH to its answer
//   {"do":"single","first":0,"count":500,"port":30000,"pause_us":2000}
//       ADDs a tap of 11.0.0.0/8, waits for the answer and for its first copy, DELETEs it, and so on, with
//       pauses of up to `pause_us`.
//       -> {"answer_us":[...],"copy_us":[...]}    both from just before the first byte is handed to SSH
//   {"do":"delete","cdest":"bench"}               -> {"count":1000}
//
// A copy's time is the kernel's when the frame arrived at the interface (SO_TIMESTAMPNS), so that it does not
// wait for this process to run; an answer's is this process's own.
#include "lib/dtcp/framing.h"
#include "lib/dtcp/request_builder.h"
#include "lib/dtcp/response_reader.h"
#include "tools/dtcp/ssh_session.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <arpa/inet.h>
#include <array>
#include <charconv>
#include <chrono>
#include <cstring>
#include <ctime>
#include <deque>
#include <fstream>
#include <iostream>
#include <iterator>
#include <linux/if_ether.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <optional>
#include <poll.h>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <thread>
#include <vector>

namespace flowtap::tools {
namespace {

using dtcp::SshSession;
using lib::dtcp::Method;
using lib::dtcp::Name;
using nlohmann::json;

constexpr std::size_t largest_answer = std::size_t{64} << 20;
/// Bytes handed to libssh2 at a time: about what it puts into one SSH packet.
constexpr std::size_t chunk = 32'000;
constexpr int patience_ms = 600'000;

std::int64_t nanoseconds(const timespec& time) {
    return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

std::int64_t now(clockid_t clock = CLOCK_MONOTONIC) {
    timespec time{};
    clock_gettime(clock, &time);
    return nanoseconds(time);
}

double microseconds(std::int64_t from, std::int64_t to) {
    return static_cast<double>(to - from) / 1000;
}

template <typename Value>
Value value_or_throw(std::expected<Value, dtcp::Problem> result) {
    if (!result) {
        throw std::runtime_error(result.error().message);
    }
    return std::move(*result);
}

struct Options {
    dtcp::Endpoint endpoint;
    dtcp::HostKeyPolicy host_keys;
    dtcp::Credentials credentials;
    std::string key_file;
    std::string interface;
    std::string destination = "203.0.113.5";
    std::string source_address = "100.100.100.100";
};

/// The frames that arrive at an interface, with the kernel's time of arrival.
class Copies {
  public:
    explicit Copies(const std::string& interface)
        : socket_(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_IP))) {
        sockaddr_ll address{};
        address.sll_family = AF_PACKET;
        address.sll_protocol = htons(ETH_P_IP);
        address.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
        const int on = 1;
        if (!socket_ || address.sll_ifindex == 0 ||
            setsockopt(socket_.get(), SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) != 0 ||
            bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
            throw std::runtime_error(
                fmt::format("cannot read from interface {}: {}", interface, std::strerror(errno)));
        }
    }

    int descriptor() const { return socket_.get(); }

    /// Reads what is there up to the first whose inner packet goes to `host`; its time (CLOCK_MONOTONIC).
    std::optional<std::int64_t> first_to(std::uint32_t host) {
        std::array<std::uint8_t, 128> frame;
        std::array<char, 128> control;
        for (;;) {
            iovec part{frame.data(), frame.size()};
            msghdr message{};
            message.msg_iov = &part;
            message.msg_iovlen = 1;
            message.msg_control = control.data();
            message.msg_controllen = control.size();
            const ssize_t size = recvmsg(socket_.get(), &message, 0);
            if (size < 0) {
                return std::nullopt;
            }
            std::uint32_t to = 0;
            if (size >= inner_destination + 4) {
                std::memcpy(&to, &frame[inner_destination], sizeof to);
            }
            if (to == htonl(host)) {
                return arrival(message);
            }
        }
    }

  private:
    /// Behind Ethernet, IPv4 and UDP: the destination of the original IPv4 header.
    static constexpr int inner_destination = 14 + 20 + 8 + 16;

    static std::int64_t arrival(msghdr& message) {
        for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
            if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_TIMESTAMPNS) {
                timespec time{};
                std::memcpy(&time, CMSG_DATA(part), sizeof time);
                return nanoseconds(time) - (now(CLOCK_REALTIME) - now());
            }
        }
        throw std::runtime_error("a frame without a time of arrival");
    }

    lib::FileDescriptor socket_;
};

lib::dtcp::Hmac read_key(const std::string& file) {
    std::ifstream stream(file, std::ios::binary);
    std::string text{std::istreambuf_iterator<char>(stream), {}};
    while (text.ends_with('\n')) {
        text.pop_back();
    }
    auto key = lib::dtcp::Hmac::create({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
    if (!key) {
        throw std::runtime_error(fmt::format("{}: {}", file, key.error()));
    }
    return std::move(*key);
}

std::string address_text(std::uint32_t host) {
    return fmt::format("{}.{}.{}.{}", host >> 24, host >> 16 & 0xff, host >> 8 & 0xff, host & 0xff);
}

class Load {
  public:
    explicit Load(const Options& options)
        : options_(options),
          key_(read_key(options.key_file)),
          copies_(options.interface),
          ssh_(value_or_throw(SshSession::open(options.endpoint, options.host_keys, options.credentials))) {}

    json obey(const json& command) {
        const std::string what = command.at("do");
        if (what == "fill") {
            return fill(command);
        }
        if (what == "single") {
            return single(command);
        }
        if (what == "delete") {
            return {{"count", remove(Name::cdest_id, command.at("cdest").get<std::string>())}};
        }
        throw std::runtime_error("unknown command " + what);
    }

  private:
    /// Sixteen lines, as a Junos client's.
    std::string add(std::uint32_t host, std::string_view cdest, unsigned port) {
        lib::dtcp::RequestBuilder builder(Method::add);
        builder.add(Name::cdest_id, cdest)
            .add(Name::source_address, "*")
            .add(Name::dest_address, address_text(host))
            .add(Name::source_port, "*")
            .add(Name::dest_port, "*")
            .add(Name::protocol, "*")
            .add(Name::priority, 2)
            .add(Name::jtap_cdest_dest_address, options_.destination)
            .add(Name::jtap_cdest_dest_port, port)
            .add(Name::jtap_cdest_source_address, options_.source_address)
            .add(Name::jtap_cdest_source_port, 40'000)
            .add(Name::jtap_cdest_ttl, 255)
            .add(Name::flags, "STATIC");
        return builder.sign(options_.credentials.user, ++seq_, key_);
    }

    json fill(const json& command) {
        const std::uint32_t first = command.at("first");
        const std::size_t count = command.at("count");
        const std::size_t window = command.at("window");
        const std::string cdest = command.at("cdest");
        std::string bytes;
        std::vector<std::size_t> ends;
        for (std::uint32_t i = 0; i < count; ++i) {
            bytes += add(0xac10'0000 + first + i, cdest, 30'000);
            ends.push_back(bytes.size());
        }
        std::vector<std::int64_t> sent;
        std::vector<double> times;
        sent.reserve(count);
        times.reserve(count);
        const std::int64_t start = now();
        const auto take_answers = [&] {
            bool any = false;
            while (take_answer()) {
                times.push_back(microseconds(sent[times.size()], now()));
                any = true;
            }
            return any;
        };
        for (std::size_t written = 0; times.size() < count;) {
            const std::size_t allowed = ends[std::min(count, times.size() + window) - 1];
            bool answered = false;
            while (written < allowed) {
                const std::int64_t handed = now();
                const auto taken = value_or_throw(
                    ssh_->write(std::string_view{bytes}.substr(written, std::min(chunk, allowed - written))));
                if (taken == 0) {
                    break;
                }
                written += taken;
                while (sent.size() < count && ends[sent.size()] <= written) {
                    sent.push_back(handed);
                }
                answered |= take_answers();
            }
            // Whoever waits after the last answer to what was sent waits for nothing: the window comes first.
            if (!answered && !take_answers()) {
                wait(written < allowed);
            }
        }
        const std::int64_t end = now();
        return {{"seconds", static_cast<double>(end - start) / 1e9}, {"us", times}};
    }

    json single(const json& command) {
        const std::uint32_t first = command.at("first");
        const unsigned port = command.at("port");
        std::vector<double> answers;
        std::vector<double> copies;
        std::mt19937 noise(1);
        std::uniform_int_distribution<> pauses(0, command.at("pause_us").get<int>());
        for (std::uint32_t i = 0; i < command.at("count").get<std::uint32_t>(); ++i) {
            const std::uint32_t host = 0x0b00'0000 + first + i;
            const std::string request = add(host, "single", port);
            // Not in step with anybody's ticks.
            std::this_thread::sleep_for(std::chrono::microseconds(pauses(noise)));
            while (copies_.first_to(0)) {
            }
            const std::int64_t start = now();
            send(request);
            std::optional<std::int64_t> copy;
            std::optional<std::string> answer;
            while (!copy || !answer) {
                wait(false, copy ? -1 : copies_.descriptor());
                if (!answer) {
                    answer = take_answer();
                    if (answer) {
                        answers.push_back(microseconds(start, now()));
                    }
                }
                if (!copy) {
                    copy = copies_.first_to(host);
                    if (copy) {
                        copies.push_back(microseconds(start, *copy));
                    }
                }
            }
            const auto response = lib::dtcp::read_response(*answer, key_);
            const std::string* const id = response ? response->find(Name::criteria_id) : nullptr;
            if (id == nullptr) {
                throw std::runtime_error("an ADD was answered without a Criteria-ID: " + *answer);
            }
            remove(Name::criteria_id, *id);
        }
        return {{"answer_us", answers}, {"copy_us", copies}};
    }

    std::uint64_t remove(Name what, std::string_view which) {
        lib::dtcp::RequestBuilder builder(Method::delete_);
        builder.add(what, which).add(Name::flags, "STATIC");
        send(builder.sign(options_.credentials.user, ++seq_, key_));
        for (;;) {
            if (const auto answer = take_answer()) {
                const auto response = lib::dtcp::read_response(*answer, key_);
                const std::string* const count = response ? response->find(Name::criteria_count) : nullptr;
                if (count == nullptr) {
                    throw std::runtime_error("a DELETE was answered without a count: " + *answer);
                }
                std::uint64_t number = 0;
                std::from_chars(count->data(), count->data() + count->size(), number);
                return number;
            }
            wait(false);
        }
    }

    void send(std::string_view request) {
        while (!request.empty()) {
            const auto taken = value_or_throw(ssh_->write(request));
            request.remove_prefix(taken);
            if (taken == 0) {
                wait(true);
            }
        }
    }

    /// The next answer if it is here; it must be a success.
    std::optional<std::string> take_answer() {
        while (answers_.empty()) {
            auto received = value_or_throw(ssh_->read());
            if (received.ended) {
                throw std::runtime_error(ssh_->end_reason().message);
            }
            if (received.bytes.empty()) {
                return std::nullopt;
            }
            std::string_view bytes = received.bytes;
            for (;;) {
                const auto message = splitter_.next(bytes);
                if (!message) {
                    throw std::runtime_error("an answer is too long");
                }
                if (!*message) {
                    break;
                }
                if (!(*message)->starts_with("DTCP/0.7 200 ")) {
                    throw std::runtime_error(fmt::format("answered {}", **message));
                }
                answers_.emplace_back(**message);
            }
        }
        std::string answer = std::move(answers_.front());
        answers_.pop_front();
        return answer;
    }

    void wait(bool more_to_write, int also = -1) {
        std::array<pollfd, 2> ready{
            {{ssh_->descriptor(), ssh_->events(more_to_write), 0}, {also, POLLIN, 0}}};
        if (poll(ready.data(), ready.size(), patience_ms) == 0) {
            throw std::runtime_error(fmt::format("nothing came for {} s", patience_ms / 1000));
        }
    }

    const Options& options_;
    lib::dtcp::Hmac key_;
    Copies copies_;
    std::unique_ptr<SshSession> ssh_;
    lib::dtcp::Splitter splitter_{largest_answer};
    std::deque<std::string> answers_;
    std::uint64_t seq_ = 0;
};

}  // namespace
}  // namespace flowtap::tools

int main(int argc, char* argv[]) {
    CLI::App app{"A mediation device for tools/bench/dtcp: JSON commands on standard input"};
    flowtap::tools::Options options;
    app.add_option("--host", options.endpoint.host)->required();
    app.add_option("--port", options.endpoint.port)->required();
    app.add_option("--user", options.credentials.user, "account, and Csource-ID")->required();
    app.add_option("--identity", options.credentials.identity)->required();
    app.add_option("--known-hosts", options.host_keys.known_hosts)->required();
    app.add_option("--key-file", options.key_file)->required();
    app.add_option("--interface", options.interface, "where copies arrive")->required();
    CLI11_PARSE(app, argc, argv);
    try {
        flowtap::tools::Load load(options);
        for (std::string line; std::getline(std::cin, line);) {
            std::cout << load.obey(nlohmann::json::parse(line)).dump() << '\n' << std::flush;
        }
    } catch (const std::exception& error) {
        fmt::print(stderr, "dtcp-load: {}\n", error.what());
        return 1;
    }
    return 0;
}
