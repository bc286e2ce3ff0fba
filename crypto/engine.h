// One thread's instance of Intel IPsec-MB, proved to compute right before it is handed out.
//
// The library picks its implementation by CPU. Key schedules are of one implementation: a key expanded with
// an engine works with every engine of the same implementation, and automatic ones in one process are all the
// same. Thread safety: an engine belongs to one thread at a time.
#pragma once

#include "lib/secret.h"

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

struct IMB_MGR;  // intel-ipsec-mb.h, which only the .cc files include: it defines many macros

namespace flowtap::crypto {

/// Instruction sets that IPsec-MB has code for.
enum class Implementation : std::uint8_t { automatic, sse, avx, avx2, avx512 };

class Engine {
  public:
    /// Fails when the CPU lacks the implementation, when the library's own self-test is absent or failed, or
    /// when the known answers (known_answers.h) do not come out.
    static std::expected<Engine, std::string> create(Implementation wanted = Implementation::automatic);

    /// The one in use, never `automatic`.
    Implementation implementation() const { return implementation_; }

    /// What seals, for a person.
    std::string description() const;

    /// Valid as long as the engine; not const, because every call into the library writes its error field.
    IMB_MGR* manager() const { return manager_; }

  private:
    Engine(lib::SecretBytes memory, IMB_MGR* manager, Implementation implementation)
        : memory_(std::move(memory)), manager_(manager), implementation_(implementation) {}

    lib::SecretBytes memory_;  ///< of the instance, which keeps round keys and hash states in it
    IMB_MGR* manager_;
    Implementation implementation_;
};

/// "sse", "avx512", ...
std::string_view to_string(Implementation implementation);

}  // namespace flowtap::crypto
