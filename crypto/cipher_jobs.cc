#include "crypto/cipher_jobs.h"

#include "crypto/big_endian.h"
#include "crypto/esp.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace flowtap::crypto {
namespace {

using Jobs = std::array<IMB_JOB*, largest_burst>;

IMB_HASH_ALG hash_of(lib::Authentication authentication) {
    switch (authentication) {
        case lib::Authentication::combined:
            return IMB_AUTH_CHACHA20_POLY1305;
        case lib::Authentication::hmac_sha1:
            return IMB_AUTH_HMAC_SHA_1;
        case lib::Authentication::hmac_sha_256:
            return IMB_AUTH_HMAC_SHA_256;
        case lib::Authentication::hmac_sha_384:
            return IMB_AUTH_HMAC_SHA_384;
        case lib::Authentication::hmac_sha_512:
            return IMB_AUTH_HMAC_SHA_512;
    }
    return IMB_AUTH_NULL;
}

void set_cipher(IMB_JOB& job, const lib::SuiteInfo& suite, const KeyTables& keys) {
    job.key_len_in_bytes = suite.cipher_key_size;
    switch (suite.cipher) {
        case lib::Cipher::aes_gcm:
            break;  // not by jobs: direct calls cost less
        case lib::Cipher::chacha20_poly1305:
            job.cipher_mode = IMB_CIPHER_CHACHA20_POLY1305;
            job.enc_keys = job.dec_keys = keys.chacha.data();
            break;
        case lib::Cipher::aes_cbc:
            job.cipher_mode = IMB_CIPHER_CBC;
            job.enc_keys = keys.aes_encrypt.data();
            job.dec_keys = keys.aes_decrypt.data();
            break;
        case lib::Cipher::triple_des_cbc:
            job.cipher_mode = IMB_CIPHER_DES3;
            job.enc_keys = job.dec_keys = keys.des.pointers.data();
            break;
    }
}

/// What all jobs of a burst have in common.
IMB_JOB common_job(const lib::SuiteInfo& suite, const KeyTables& keys, Direction direction) {
    IMB_JOB job{};
    set_cipher(job, suite, keys);
    const bool seal = direction == Direction::seal;
    job.cipher_direction = seal ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT;
    job.chain_order = seal ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
    job.hash_alg = hash_of(suite.authentication);
    job.auth_tag_output_len_in_bytes = suite.icv_size;
    job.cipher_start_src_offset_in_bytes = esp_header_size + suite.iv_size;
    if (suite.combined()) {
        job.iv_len_in_bytes = 12;
        job.hash_start_src_offset_in_bytes = job.cipher_start_src_offset_in_bytes;
    } else {
        job.iv_len_in_bytes = suite.iv_size;
        job.u.HMAC._hashed_auth_key_xor_ipad = keys.hmac_inner.data();
        job.u.HMAC._hashed_auth_key_xor_opad = keys.hmac_outer.data();
    }
    return job;
}

void set_task(IMB_JOB& job, const lib::SuiteInfo& suite, CipherTask& task) {
    job.src = task.esp;
    job.dst = task.esp + job.cipher_start_src_offset_in_bytes;
    job.msg_len_to_cipher_in_bytes = task.text;
    job.auth_tag_output = task.icv;
    if (suite.combined()) {
        job.msg_len_to_hash_in_bytes = task.text;
        job.iv = task.nonce.data();
        job.u.CHACHA20_POLY1305.aad = task.aad.data();
        job.u.CHACHA20_POLY1305.aad_len_in_bytes = task.additional;
    } else {
        job.msg_len_to_hash_in_bytes = task.hashed;
        job.iv = task.esp + esp_header_size;
    }
}

/// Has the jobs done, all of them: the queue was empty before and is empty after. False: some were not.
bool complete(IMB_MGR& manager, std::span<IMB_JOB*> jobs) {
    const auto count = static_cast<std::uint32_t>(jobs.size());
    Jobs done;
    std::ranges::copy(jobs, done.begin());
    std::uint32_t finished = IMB_SUBMIT_BURST_NOCHECK(&manager, count, done.data());
    bool right = std::ranges::all_of(std::span(done).first(finished),
                                     [](const IMB_JOB* job) { return job->status == IMB_STATUS_COMPLETED; });
    while (finished < count) {
        const std::uint32_t flushed = IMB_FLUSH_BURST(&manager, count - finished, done.data());
        if (flushed == 0) {
            return false;
        }
        right = right && std::ranges::all_of(std::span(done).first(flushed), [](const IMB_JOB* job) {
                    return job->status == IMB_STATUS_COMPLETED;
                });
        finished += flushed;
    }
    return right;
}

/// Encrypts the counters, which stand where the IVs will, as one block each.
bool encrypt_blocks(IMB_MGR& manager, const TripleDes& key, std::span<const CipherTask> tasks) {
    alignas(8) static constexpr std::array<std::uint8_t, 8> zero{};
    Jobs jobs;
    const auto count = static_cast<std::uint32_t>(tasks.size());
    if (IMB_GET_NEXT_BURST(&manager, count, jobs.data()) != count) {
        return false;
    }
    IMB_JOB common{};
    common.cipher_mode = IMB_CIPHER_DES3;
    common.cipher_direction = IMB_DIR_ENCRYPT;
    common.chain_order = IMB_ORDER_CIPHER_HASH;
    common.hash_alg = IMB_AUTH_NULL;
    common.enc_keys = common.dec_keys = key.pointers.data();
    common.key_len_in_bytes = 24;
    common.iv = zero.data();
    common.iv_len_in_bytes = zero.size();
    common.msg_len_to_cipher_in_bytes = zero.size();
    for (std::size_t i = 0; i < tasks.size(); ++i) {
        *jobs[i] = common;
        jobs[i]->src = jobs[i]->dst = tasks[i].esp + esp_header_size;
    }
    return complete(manager, std::span(jobs).first(count));
}

}  // namespace

CipherTask task_of(const lib::SuiteInfo& suite, std::uint8_t* esp, std::size_t text) {
    const std::size_t in_front = esp_header_size + suite.iv_size;
    CipherTask task;
    task.esp = esp;
    task.icv = esp + in_front + text;
    task.text = static_cast<std::uint32_t>(text);
    task.hashed = static_cast<std::uint32_t>(in_front + text);
    return task;
}

std::size_t write_extended_aad(lib::Spi spi, std::uint64_t sequence, std::array<std::uint8_t, 12>& aad) {
    store_big_endian(aad.data(), std::to_underlying(spi));
    store_big_endian(aad.data() + 4, sequence);
    return aad.size();
}

void bind_sequence(const lib::SuiteInfo& suite, const KeyTables& keys, bool extended, std::uint64_t sequence,
                   CipherTask& task) {
    if (!suite.combined()) {
        if (extended) {
            store_big_endian(task.esp + task.hashed, static_cast<std::uint32_t>(sequence >> 32));
            task.hashed += 4;
        }
        return;
    }
    std::ranges::copy(keys.salt, task.nonce.begin());
    std::copy_n(task.esp + esp_header_size, 8, task.nonce.begin() + 4);
    if (extended) {
        const lib::Spi spi{load_big_endian<std::uint32_t>(task.esp)};
        task.additional = static_cast<std::uint32_t>(write_extended_aad(spi, sequence, task.aad));
    } else {
        std::copy_n(task.esp, esp_header_size, task.aad.begin());
        task.additional = esp_header_size;
    }
}

bool run(IMB_MGR& manager, const lib::SuiteInfo& suite, const KeyTables& keys, Direction direction,
         std::span<CipherTask> tasks) {
    assert(tasks.size() <= largest_burst && suite.cipher != lib::Cipher::aes_gcm);
    if (tasks.empty()) {
        return true;
    }
    Jobs jobs;
    const auto count = static_cast<std::uint32_t>(tasks.size());
    if (IMB_GET_NEXT_BURST(&manager, count, jobs.data()) != count) {
        return false;
    }
    const IMB_JOB common = common_job(suite, keys, direction);
    for (std::size_t i = 0; i < tasks.size(); ++i) {
        *jobs[i] = common;
        set_task(*jobs[i], suite, tasks[i]);
    }
    return complete(manager, std::span(jobs).first(count));
}

bool write_ivs(IMB_MGR& manager, const lib::SuiteInfo& suite, const KeyTables& keys,
               std::span<const CipherTask> tasks, std::span<const std::uint64_t> counters) {
    assert(tasks.size() <= largest_burst && tasks.size() == counters.size());
    if (suite.cipher == lib::Cipher::triple_des_cbc) {
        for (std::size_t i = 0; i < tasks.size(); ++i) {
            store_big_endian(tasks[i].esp + esp_header_size, counters[i]);
        }
        return tasks.empty() || encrypt_blocks(manager, keys.des_iv, tasks);
    }
    // CFB of a block of zeros is the encrypted feedback itself. It is the library's one call for a single
    // block, and it has it for AES-128 alone; that serves here beside AES-256 too.
    static constexpr std::array<std::uint8_t, 16> zero{};
    std::array<std::uint8_t, 16> block{};
    for (std::size_t i = 0; i < tasks.size(); ++i) {
        store_big_endian(block.data() + 8, counters[i]);
        manager.aes128_cfb_one(tasks[i].esp + esp_header_size, zero.data(), block.data(), keys.aes_iv.data(),
                               block.size());
    }
    return true;
}

}  // namespace flowtap::crypto
