#include "tools/receive/capture.h"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <string_view>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace flowtap::tools::receive {
namespace {

constexpr int snapshot = 262'144;
constexpr int kernel_buffer = 64 * 1024 * 1024;
/// What find_esp() can find anything in; frames with VLAN tags are here too, since the kernel takes the first
/// tag off before it filters.
constexpr const char* filter =
    "ip proto 50 or udp port 4500 or ip6 proto 50 or ip6 proto 0 or ip6 proto 43 or ip6 proto 60 or "
    "ip6 proto 44 or vlan";

std::string text_of(pcap_t& handle) {
    return pcap_geterr(&handle);
}

CaptureError activation_error(pcap_t& handle, int status, const std::string& name) {
    const std::string_view detail = pcap_geterr(&handle);
    const std::string text =
        fmt::format("{}: {}{}{}", name, pcap_statustostr(status), detail.empty() ? "" : ": ", detail);
    if (status == PCAP_ERROR_PERM_DENIED || status == PCAP_ERROR_PROMISC_PERM_DENIED) {
        return {text + "; capturing needs the capability CAP_NET_RAW", true};
    }
    return {text, false};
}

}  // namespace

Source::Source(Handle handle, bool live)
    : handle_(std::move(handle)), live_(live), type_(LinkType{pcap_datalink(handle_.get())}) {}

std::expected<Source, CaptureError> Source::checked(Handle handle, bool live, const std::string& name) {
    Source source(std::move(handle), live);
    if (!supported(source.type_)) {
        const char* const type = pcap_datalink_val_to_name(static_cast<int>(source.type_));
        return std::unexpected(CaptureError{
            fmt::format("{}: link type {} ({}); Ethernet, raw IP and Linux cooked captures are understood",
                        name, type != nullptr ? type : "unknown", static_cast<int>(source.type_))});
    }
    return source;
}

std::expected<Source, CaptureError> Source::interface(const std::string& name) {
    std::array<char, PCAP_ERRBUF_SIZE> error{};
    Handle handle(pcap_create(name.c_str(), error.data()));
    if (!handle) {
        return std::unexpected(CaptureError{fmt::format("{}: {}", name, error.data())});
    }
    pcap_set_snaplen(handle.get(), snapshot);
    pcap_set_promisc(handle.get(), 1);
    // Not the immediate mode: its ring has a slot of the snapshot's size for each packet, and so few slots
    // that a burst overflows it. Blocks are handed over when they are full, or after this time.
    pcap_set_timeout(handle.get(), 10);  // ms
    pcap_set_buffer_size(handle.get(), kernel_buffer);
    if (const int status = pcap_activate(handle.get()); status < 0) {
        return std::unexpected(activation_error(*handle, status, name));
    }
    // What the machine itself sends is not received; not every link type can tell, and then both ways are
    // taken.
    pcap_setdirection(handle.get(), PCAP_D_IN);
    bpf_program program{};
    if (pcap_compile(handle.get(), &program, filter, 1, PCAP_NETMASK_UNKNOWN) == 0) {
        const int status = pcap_setfilter(handle.get(), &program);
        pcap_freecode(&program);
        if (status != 0) {
            return std::unexpected(CaptureError{fmt::format("{}: {}", name, text_of(*handle))});
        }
    }
    if (pcap_setnonblock(handle.get(), 1, error.data()) != 0) {
        return std::unexpected(CaptureError{fmt::format("{}: {}", name, error.data())});
    }
    return checked(std::move(handle), true, name);
}

std::expected<Source, CaptureError> Source::file(const std::filesystem::path& path) {
    std::array<char, PCAP_ERRBUF_SIZE> error{};
    Handle handle(pcap_open_offline(path.c_str(), error.data()));
    if (!handle) {
        const std::string_view message = error.data();
        const std::string name = path.string();
        return std::unexpected(CaptureError{
            message.starts_with(name) ? std::string(message) : fmt::format("{}: {}", name, message)});
    }
    return checked(std::move(handle), false, path.string());
}

Source::Next Source::next(std::chrono::milliseconds patience, int wake) {
    for (bool waited = false;; waited = true) {
        pcap_pkthdr* header = nullptr;
        const u_char* data = nullptr;
        switch (pcap_next_ex(handle_.get(), &header, &data)) {
            case 1:
                buffer_.assign(data, data + header->caplen);
                return {State::frame, {buffer_, header->ts}};
            case PCAP_ERROR_BREAK:
                return {live_ ? State::nothing : State::end};
            case 0:
                break;
            default:
                return {.state = State::failed, .message = text_of(*handle_)};
        }
        if (waited) {
            return {State::nothing};
        }
        std::array<pollfd, 2> waits{{{pcap_get_selectable_fd(handle_.get()), POLLIN, 0}, {wake, POLLIN, 0}}};
        ::poll(waits.data(), waits.size(), static_cast<int>(patience.count()));
    }
}

std::uint64_t Source::dropped() const {
    pcap_stat statistics{};
    if (!live_ || pcap_stats(handle_.get(), &statistics) != 0) {
        return 0;
    }
    return statistics.ps_drop;
}

std::expected<Sink, CaptureError> Sink::create(const std::filesystem::path& path, Existing existing) {
    std::unique_ptr<pcap_t, Close> handle(pcap_open_dead(DLT_RAW, snapshot));
    if (!handle) {
        return std::unexpected(CaptureError{"no memory for libpcap"});
    }
    // What is in it is somebody's traffic: no one but the owner reads a new file.
    const int descriptor = ::open(
        path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | (existing == Existing::refuse ? O_EXCL : O_TRUNC),
        S_IRUSR | S_IWUSR);
    std::FILE* const file = descriptor >= 0 ? ::fdopen(descriptor, "wb") : nullptr;
    if (file == nullptr) {
        const int error = errno;
        if (descriptor >= 0) {
            ::close(descriptor);
        }
        return std::unexpected(CaptureError{fmt::format("{}: {}", path.string(), std::strerror(error))});
    }
    std::unique_ptr<pcap_dumper_t, Close> dumper(pcap_dump_fopen(handle.get(), file));  // closes the file
    if (!dumper) {
        std::fclose(file);
        return std::unexpected(CaptureError{text_of(*handle)});
    }
    return Sink(std::move(handle), std::move(dumper), path);
}

std::expected<void, std::string> Sink::state(bool good) const {
    if (good && std::ferror(pcap_dump_file(dumper_.get())) == 0) {
        return {};
    }
    return std::unexpected(fmt::format("cannot write to {}: {}", path_.string(), std::strerror(errno)));
}

std::expected<void, std::string> Sink::write(std::span<const std::uint8_t> packet, const timeval& time) {
    const pcap_pkthdr header{time, static_cast<bpf_u_int32>(packet.size()),
                             static_cast<bpf_u_int32>(packet.size())};
    pcap_dump(static_cast<u_char*>(static_cast<void*>(dumper_.get())), &header, packet.data());
    return state(true);
}

std::expected<void, std::string> Sink::flush() {
    return state(pcap_dump_flush(dumper_.get()) == 0);
}

}  // namespace flowtap::tools::receive
