#!lua
-- replace: a live pending by another of the same id; when it was created, and its ceiling, stay.
--
-- KEYS[1]  record    STRING  {xx}:pending:<id>
-- KEYS[2]  index     ZSET    {xx}:pendings:<namespace digest>, ids by expiry
-- KEYS[3]  dedup     STRING  {xx}:dedup:<digest>, an id; the index again, if there is none
-- ARGV[1]  request   16 bytes, digest of the request id
-- ARGV[2]  id        the pending
-- ARGV[3]  value     the whole record
-- ARGV[4]  ttl       ms it lives from now
-- ARGV[5]  grace     ms a tombstone lives
-- ARGV[6]  channel   where who waits listens: its end has moved
--
-- Returns  {"replaced", request}       also on a retry with the same request id
--          {"ceiling", request, ms}    it may live so much longer at the most
--          {"ended", request, how}
--          {"expired", request}
--          {"absent", request}
--          {"corrupt", request}
--
-- Why Lua: only a live one is replaced, and its index and dedup entries move with it.
local record, index, dedup = KEYS[1], KEYS[2], KEYS[3]
local request, id, value = ARGV[1], ARGV[2], ARGV[3]
local ttl, grace, channel = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]

local there = redis.call('GET', record)
redis.call('ZSCORE', index, id)
local other = dedup ~= index and redis.call('GET', dedup)
if not there then return {'absent', request} end
local offset, ceiling = tonumber(there:sub(56, 59)), tonumber(there:sub(28, 40))
if not offset or not ceiling or there:sub(1, 3) ~= 'v1 ' or #there < offset + 48 then
  return {'corrupt', request}
end
local state = there:sub(4, 12):match('^(%l+) *$')
if state == 'completed' or state == 'cancelled' or state == 'cleared' then
  return {'ended', request, state}
end
if state ~= 'live' then return {'corrupt', request} end
if redis.call('PTTL', record) <= grace then return {'expired', request} end
-- While it lives, the taker's place holds who replaced it.
if there:sub(offset + 17, offset + 32) == request then return {'replaced', request} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now + ttl > ceiling then return {'ceiling', request, math.max(ceiling - now, 0)} end
-- The other pending's key is this one's with another id, in the same namespace and slot.
local taken = other and other ~= id
  and redis.call('GETRANGE', record:sub(1, #record - #id) .. other, 3, 6) == 'live'

local at = tonumber(value:sub(56, 59))
redis.call('ZADD', index, string.format('%d', now + ttl), id)
redis.call('PEXPIRE', index, ttl + grace, 'NX')
redis.call('PEXPIRE', index, ttl + grace, 'GT')
if dedup ~= index and not taken then redis.call('SET', dedup, id, 'PX', ttl) end
-- The record last: with it a retry takes all the rest for done.
redis.call('SET', record, value:sub(1, 13) .. there:sub(14, 40) .. value:sub(41, at)
  .. there:sub(offset + 1, offset + 16) .. value:sub(at + 17), 'PX', ttl + grace)
redis.call('PUBLISH', channel, id)
return {'replaced', request}
