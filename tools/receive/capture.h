// Frames in, packets out: libpcap behind RAII.
#pragma once

#include "tools/receive/encapsulation.h"

#include <pcap/pcap.h>

#include <chrono>
#include <cstdint>
#include <expected>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <sys/time.h>
#include <vector>

namespace flowtap::tools::receive {

/// Why a capture or a file could not be opened, and whether a capability is what is missing.
struct CaptureError {
    std::string message;
    bool privilege = false;
};

struct Frame {
    std::span<std::uint8_t> bytes;  ///< the source's own buffer, valid until the next call
    timeval time{};                 ///< when it was captured
};

class Source {
  public:
    /// Frames that arrive at a network interface, those that can carry ESP (the kernel filters).
    static std::expected<Source, CaptureError> interface(const std::string& name);
    /// Every frame of a pcap or pcapng file.
    static std::expected<Source, CaptureError> file(const std::filesystem::path& path);

    enum class State : std::uint8_t {
        frame,    ///< here is one
        nothing,  ///< none within the time given, or a signal came
        end,      ///< the file ends here
        failed,   ///< the message says how: a damaged file, or the interface went away
    };
    struct Next {
        State state = State::nothing;
        Frame frame{};
        std::string message{};
    };

    /// The next frame; an interface is waited for until `patience` is over or `wake`, a descriptor, becomes
    /// readable.
    Next next(std::chrono::milliseconds patience, int wake);

    LinkType link_type() const { return type_; }

    /// Frames that the kernel dropped because this process was too slow; 0 for a file.
    std::uint64_t dropped() const;

  private:
    struct Close {
        void operator()(pcap_t* handle) const { pcap_close(handle); }
    };
    using Handle = std::unique_ptr<pcap_t, Close>;

    Source(Handle handle, bool live);
    static std::expected<Source, CaptureError> checked(Handle handle, bool live, const std::string& name);

    Handle handle_;
    bool live_;
    LinkType type_;
    std::vector<std::uint8_t>
        buffer_;  ///< frames are opened in place, and libpcap's memory may not be written
};

/// A pcap file of bare IP packets (LINKTYPE_RAW). One that it makes is its owner's alone, whatever the umask
/// is.
class Sink {
  public:
    /// What becomes of a file that is there.
    enum class Existing : std::uint8_t { overwrite, refuse };

    static std::expected<Sink, CaptureError> create(const std::filesystem::path& path,
                                                    Existing existing = Existing::overwrite);

    /// Errors, here and of flush(), name the file and the cause (disk full); once there was one, there always
    /// is.
    std::expected<void, std::string> write(std::span<const std::uint8_t> packet, const timeval& time);
    /// Brings everything to the file.
    std::expected<void, std::string> flush();

  private:
    struct Close {
        void operator()(pcap_t* handle) const { pcap_close(handle); }
        void operator()(pcap_dumper_t* dumper) const { pcap_dump_close(dumper); }
    };

    Sink(std::unique_ptr<pcap_t, Close> handle, std::unique_ptr<pcap_dumper_t, Close> dumper,
         std::filesystem::path path)
        : handle_(std::move(handle)), dumper_(std::move(dumper)), path_(std::move(path)) {}

    std::expected<void, std::string> state(bool good) const;

    std::unique_ptr<pcap_t, Close> handle_;
    std::unique_ptr<pcap_dumper_t, Close> dumper_;
    std::filesystem::path path_;
};

}  // namespace flowtap::tools::receive
