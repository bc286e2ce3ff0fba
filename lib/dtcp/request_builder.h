// Requests, as a client writes them: CRLF, signed last.
#pragma once

#include "lib/dtcp/auth.h"
#include "lib/dtcp/message.h"
#include "lib/dtcp/name.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace flowtap::lib::dtcp {

class RequestBuilder {
  public:
    explicit RequestBuilder(Method method, Version version = version_0_7);

    /// `value` is in DTCP's own syntax: "10.0.0.0/8,!10.0.0.1", "cd1,cd2", `\DDD`. Bytes that no line may
    /// hold are escaped, so that nothing can add a line.
    RequestBuilder& add(Name name, std::string_view value);
    RequestBuilder& add(Name name, std::uint64_t value);
    /// A name of the caller's own; characters that no name may hold are left out.
    RequestBuilder& add(std::string_view name, std::string_view value);

    /// The whole message, with Csource-ID (any text: it is escaped), Seq and the signature. Called once,
    /// last.
    std::string sign(std::string_view csource_id, std::uint64_t seq, Hmac& key);

  private:
    std::string message_;
};

}  // namespace flowtap::lib::dtcp
