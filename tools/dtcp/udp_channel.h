// DTCP over UDP: a message a datagram. Who sends one is not known before its signature is verified.
#pragma once

#include "lib/file_descriptor.h"
#include "tools/dtcp/channel.h"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

namespace flowtap::tools::dtcp {

class UdpChannel final : public Channel {
  public:
    /// Bytes of the largest datagram (IPv4: 65,535 less the headers).
    static constexpr std::size_t largest = 65'507;

    /// `local_port`: where answers and notifications come to; 0: any.
    static std::expected<std::unique_ptr<UdpChannel>, Problem> open(const std::string& host,
                                                                    std::uint16_t port,
                                                                    std::uint16_t local_port);

    std::expected<std::size_t, Problem> write(std::string_view bytes) override;
    std::expected<Received, Problem> read() override;
    int descriptor() const override { return socket_.get(); }
    short events(bool more_to_write) const override;
    bool is_stream() const override { return false; }
    Problem end_reason() override;

  private:
    explicit UdpChannel(lib::FileDescriptor socket) : socket_{std::move(socket)} {}

    lib::FileDescriptor socket_;
};

}  // namespace flowtap::tools::dtcp
