// The first line of a connection to dtcp.sock: the address that the SSH client has, in the words of
// flowtap-dtcp.
//
// The bridge writes it before it passes on a byte of its client, always, so nothing that comes through the
// bridge can pass for one: after the preface all is DTCP. It opens with a byte that no DTCP message opens
// with; a connection that opens with any other byte has no preface (a client on this machine).
//
// It is believed as far as the account of the connection is (SO_PEERCRED): who may run programs as that
// account may say any address. It is shown (CSOURCE-ADDRESS) and logged, and decides nothing.
#pragma once

#include "lib/address.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace flowtap::control {

/// 0x01, "FLOWTAP-CLIENT ", an address without a zone or "-", LF.
inline constexpr std::string_view preface_head{
    "\x01"
    "FLOWTAP-CLIENT "};
/// Bytes of the longest, its LF included: an IPv6 address with a dotted quad has 45.
inline constexpr std::size_t longest_preface = preface_head.size() + 45 + 1;

/// `ssh_connection`: what sshd calls SSH_CONNECTION, "client port server port"; nullptr or anything that does
/// not start with what could be an address: "-". Whole, with its LF.
std::string write_preface(const char* ssh_connection);

enum class Preface : std::uint8_t {
    incomplete,  ///< more bytes are needed to tell
    none,        ///< the connection starts with DTCP
    whole,
    malformed,
};

struct PrefaceResult {
    Preface state = Preface::incomplete;
    std::size_t size = 0;                     ///< of `whole`: its bytes
    std::optional<lib::IpAddress> address{};  ///< of `whole`: unset where the bridge did not know it
};

/// `bytes`: all that has come on the connection so far.
PrefaceResult read_preface(std::string_view bytes);

}  // namespace flowtap::control
