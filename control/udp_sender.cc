#include "control/udp_sender.h"

#include "control/udp_socket.h"

#include <utility>

namespace flowtap::control {

void UdpSender::send(Datagram datagram) {
    if (full()) {
        ++sent_.dropped;
        return;
    }
    bytes_ += datagram.bytes.size();
    waiting_.push_back(std::move(datagram));
    if (!flushing_) {
        flush();
    }
}

void UdpSender::flush() {
    while (!waiting_.empty()) {
        const auto result = send_datagram(socket_.native_handle(), waiting_.front());
        if (result == UdpResult::wait) {
            flushing_ = true;
            socket_.async_wait(asio::posix::stream_descriptor::wait_write,
                               [this](const asio::error_code& error) {
                                   flushing_ = false;
                                   if (!error) {
                                       flush();
                                   }
                               });
            return;
        }
        ++(result == UdpResult::done ? sent_.done : sent_.dropped);
        bytes_ -= waiting_.front().bytes.size();
        waiting_.pop_front();
    }
}

}  // namespace flowtap::control
