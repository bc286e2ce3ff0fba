// The sequence windows of the sources that may use UDP, on the medium before a message is acted on: no crash,
// of the process or of the machine, makes a message acceptable twice.
//
// File `sequences` in the state directory: 1 KiB a source, two sectors of 512 bytes that are written in turn,
// so that a write that breaks off leaves the other. The number of the write says which counts. A record
// belongs to a source's name and key, and is signed with the key. What cannot be read with certainty is
// refused:
// - a key without a record (the operator records a new one by `flowtap-control --new-keys`, once): it may
// have
//   been used before, on a medium that is lost;
// - a record of which either sector is damaged: the damaged one may have been the newer.
// A reset by the operator makes a good record of it.
//
// One change of the file is on its way at a time: take_changes(), write_changes() (which any thread may do),
// settled(). Otherwise not thread-safe: one owner.
#pragma once

#include "control/sequence_window.h"
#include "control/sources.h"
#include "lib/file_descriptor.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace flowtap::control {

enum class SequenceRecord : std::uint8_t { none, damaged, good };

class SequenceStore {
  public:
    static constexpr std::size_t sector_size = 512;

    struct Change {
        std::uint64_t offset = 0;
        std::array<char, sector_size> sector{};
    };

    /// Reads the records of the sources that may use UDP; the others have none here. `sources` must outlive
    /// the store. Errors: the file cannot be read or is none of this kind.
    static std::expected<SequenceStore, std::string> open(const std::filesystem::path& directory,
                                                          Sources& sources);

    SequenceRecord record(SourceIndex source) const { return slot(source).record; }

    /// Records the keys that have no record as never used. Returns how many, once they are on the medium.
    std::expected<std::size_t, std::string> record_new();

    /// Only where the record is good. An accepted number waits for take_changes().
    SequenceVerdict accept(SourceIndex source, std::uint64_t number);

    /// Forgets what was seen: the next number, whatever it is, is accepted; or only those after `number`.
    /// On return it is on the medium. Not while changes are on their way.
    std::expected<void, std::string> reset(SourceIndex source, std::optional<std::uint64_t> number);

    bool changed() const { return !changed_.empty(); }
    /// All that changed since the last time.
    std::vector<Change> take_changes();
    /// Writes and waits for the medium.
    static std::expected<void, std::string> write_changes(int descriptor, const std::vector<Change>& changes);
    /// Those taken last were written, or not: then they are to be written again.
    void settled(bool written);
    int descriptor() const { return file_.get(); }

  private:
    struct Slot {
        SequenceRecord record = SequenceRecord::none;
        SequenceWindow window{};
        std::uint64_t offset = 0;
        std::uint64_t generation = 0;  ///< number of the last write that is on the medium
    };

    explicit SequenceStore(Sources& sources) : sources_{&sources}, slots_(sources.size()) {}
    Slot& slot(SourceIndex source) { return slots_[static_cast<std::size_t>(source)]; }
    const Slot& slot(SourceIndex source) const { return slots_[static_cast<std::size_t>(source)]; }
    void read_record(SourceIndex source, std::string_view first, std::string_view second);
    Change write_record(SourceIndex source);
    std::expected<void, std::string> save(const std::vector<SourceIndex>& sources);

    Sources* sources_;
    lib::FileDescriptor file_;
    std::filesystem::path directory_;
    std::uint64_t end_ = 0;  ///< of the file, where the next new record goes
    std::vector<Slot> slots_;
    std::set<SourceIndex> changed_;
    std::vector<SourceIndex> on_their_way_;
};

}  // namespace flowtap::control
