// The link between control and dataplane: a SOCK_SEQPACKET socket on which the two regions change hands,
// either side is woken, and the death of either is noticed.
//
// The dataplane listens (LinkServer); control connects (LinkClient). Each says hello: what layout it speaks,
// how large its regions are by its configuration, which configuration it has read, which epoch it lives in,
// and its region's descriptor. Where the two differ, both sides get a LinkError that says in what and shows
// both values. One control at a time: another one is turned away with a reason while the first is connected.
//
// Rings: before a hello leaves, the sender's own halves of both rings are emptied. So after `up`, either side
// makes its RingProducer and RingConsumer, once, and both rings begin empty.
//
// Waking: wake() sends a message of a few bytes and never blocks; when the peer has so many unread that there
// is no room, it is awake anyhow. (Not an eventfd: its blocking mode belongs to whoever holds it, so a
// hostile peer could let the other side's write sleep for ever.)
//
// Control's registry: control may hand the dataplane one memfd to keep (keep()). The dataplane never looks
// into it and gives it to the next control with its hello, so that it outlives control.
//
// Death of the peer: fd() becomes readable and poll() says so, at once when the process ends. A peer that
// hangs is told by its heartbeat (lib/heartbeat.h, CommandBlock::heartbeat, ManagerStatus::heartbeat), which
// the caller watches and acts on.
//
// No threads and no event loop: when fd() is readable, or as often as the caller likes, call poll(). It does
// a bounded piece of work and returns at most one event; while there is more to do, fd() stays readable. (A
// peer can send without end: do not call it until it is empty, but a few times a turn.) No call blocks unless
// it says for how long. Thread safety: one thread at a time. The regions must outlive the link.
#pragma once

#include "lib/file_descriptor.h"
#include "lib/region.h"

#include <array>
#include <chrono>
#include <cstdint>
#include <expected>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <variant>

namespace flowtap::lib {

enum class LinkFailure : std::uint16_t {
    none,
    system,         ///< a system call failed
    not_permitted,  ///< the peer's user may not connect
    busy,           ///< another control is connected
    version,        ///< layout_version differs
    shape,          ///< the regions' sizes differ: max-taps or the number of workers
    configuration,  ///< the same shape, but another configuration file
    malformed,      ///< the peer sent what no hello, refusal, wake or keep looks like
    region,         ///< the peer's region is not what it must be
    closed,         ///< the peer has closed the connection, or is dead
    silent,         ///< the peer did not answer in the time allowed
};

struct LinkError {
    LinkFailure failure = LinkFailure::none;
    std::string message;  ///< a sentence: what differs, what either side has
};

/// SHA-256 of the configuration file (Config::digest).
using ConfigDigest = std::array<std::uint8_t, 32>;

/// The peer has sent something: look at the ring. Any number of wakes may come as one.
struct LinkWoken {};

/// Control is there: its hello was accepted and answered.
struct ControlUp {
    CommandView command;
    pid_t pid = 0;  ///< as the kernel says
};

/// Control is gone; the next one may connect. Its CommandView may be kept until it is needed no more.
struct ControlLost {
    LinkError reason;
};

/// Somebody was turned away; the link, if there is one, is untouched. For the log.
struct ControlRefused {
    LinkError reason;
};

using ServerEvent = std::variant<ControlUp, LinkWoken, ControlLost, ControlRefused>;

/// The dataplane's end.
class LinkServer {
  public:
    /// Listens on `path`; a socket file that nobody listens on is replaced, a live one and any other file are
    /// errors. Connections are accepted from root, from the process's own user and from control_user, who
    /// also becomes the socket file's owner (mode 0600).
    static std::expected<LinkServer, LinkError> listen(const std::filesystem::path& path,
                                                       StatusRegion& status, const ConfigDigest& digest,
                                                       std::optional<uid_t> control_user = {});

    LinkServer(const LinkServer&) = delete;
    LinkServer& operator=(const LinkServer&) = delete;
    LinkServer(LinkServer&&) noexcept;
    LinkServer& operator=(LinkServer&&) noexcept;
    /// Ends the link and removes the socket file.
    ~LinkServer();

    /// Readable when poll() has something to do (an epoll descriptor; level-triggered).
    int fd() const;

    /// The next event, or nothing.
    std::optional<ServerEvent> poll();

    bool connected() const;

    /// Wakes control; without one, does nothing.
    void wake();

    /// Ends the link with a control that misbehaves or hangs; it is told why. No ControlLost follows.
    void drop(std::string_view reason);

  private:
    struct State;
    explicit LinkServer(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

/// The dataplane is there.
struct DataplaneUp {
    StatusView status;
    pid_t pid = 0;        ///< as the kernel says
    FileDescriptor kept;  ///< the memfd that the dataplane was given to keep, or none; unchecked
};

/// The link is over (or never came up: the reason says why). The client is of no further use.
struct DataplaneLost {
    LinkError reason;
};

using ClientEvent = std::variant<DataplaneUp, LinkWoken, DataplaneLost>;

/// Control's end.
class LinkClient {
  public:
    /// Connects and sends the hello; does not wait for the answer, which poll() or wait_up() brings. Fails
    /// when nobody listens (LinkFailure::system), or when the listener is neither root nor of the process's
    /// own user nor dataplane_user. Empties command's rings.
    static std::expected<LinkClient, LinkError> connect(const std::filesystem::path& path,
                                                        CommandRegion& command, const RegionShape& shape,
                                                        const ConfigDigest& digest,
                                                        std::optional<uid_t> dataplane_user = {});

    LinkClient(const LinkClient&) = delete;
    LinkClient& operator=(const LinkClient&) = delete;
    LinkClient(LinkClient&&) noexcept;
    LinkClient& operator=(LinkClient&&) noexcept;
    ~LinkClient();

    /// Readable when poll() has something to do (level-triggered). -1 when the link is over.
    int fd() const;

    /// The next event, or nothing.
    std::optional<ClientEvent> poll();

    /// Waits for DataplaneUp, at most `patience`. For callers without an event loop.
    std::expected<DataplaneUp, LinkError> wait_up(std::chrono::milliseconds patience);

    bool connected() const;

    /// Wakes the dataplane; without one, does nothing.
    void wake();

    /// Gives the dataplane this memfd to keep, instead of the one before. The descriptor stays the caller's.
    /// Not before DataplaneUp. Fails with `busy` when the dataplane has too much unread: try again later.
    std::expected<void, LinkError> keep(int memfd);

  private:
    struct State;
    explicit LinkClient(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace flowtap::lib
