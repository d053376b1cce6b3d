#!lua
-- put: a pending, unless its dedup key leads to a live one, which the caller then joins.
--
-- KEYS[1]  record    STRING  {xx}:pending:<id>
-- KEYS[2]  index     ZSET    {xx}:pendings:<namespace digest>, ids by expiry
-- KEYS[3]  dedup     STRING  {xx}:dedup:<digest>, an id; the index again, if there is none
-- ARGV[1]  request   16 bytes, digest of the request id
-- ARGV[2]  id        the pending
-- ARGV[3]  value     the whole record
-- ARGV[4]  ttl       ms it lives
-- ARGV[5]  grace     ms a tombstone lives
-- ARGV[6]  extend    1: one that is joined lives for ttl from now, if its ceiling allows and nobody
--                    has claimed it; else it is not joined
--
-- Returns  {"stored", request}            also on a retry with the same request id
--          {"joined", request, id, ms}    a live one with this dedup key, and what is left of it
--          {"collision", request}         the id is in use, live or as a tombstone
--
-- Why Lua: the record, its index entry and its dedup key come together, or two prompts go out.
local record, index, dedup = KEYS[1], KEYS[2], KEYS[3]
local request, id, value, extend = ARGV[1], ARGV[2], ARGV[3], ARGV[6]
local ttl, grace = tonumber(ARGV[4]), tonumber(ARGV[5])

local there = redis.call('GET', record)
redis.call('ZSCORE', index, id)
if there then
  local offset = tonumber(there:sub(56, 59)) or 0
  if there:sub(offset + 1, offset + 16) == request then return {'stored', request} end
  return {'collision', request}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- GT alone never gives a fresh key an end.
local function list(which)
  redis.call('ZADD', index, string.format('%d', now + ttl), which)
  redis.call('PEXPIRE', index, ttl + grace, 'NX')
  redis.call('PEXPIRE', index, ttl + grace, 'GT')
  if dedup ~= index then redis.call('SET', dedup, which, 'PX', ttl) end
end
if dedup ~= index then
  -- The other pending's key is this one's with another id, in the same namespace and slot.
  local other = redis.call('GET', dedup)
  local key = other and record:sub(1, #record - #id) .. other
  if key and redis.call('GETRANGE', key, 3, 6) == 'live' then
    local left = redis.call('PTTL', key) - grace
    local claimed = extend == '1'
      and redis.call('EXISTS', record:match('^(.*:{%x%x}:)') .. 'claim:' .. other) == 1
    local ceiling = tonumber(redis.call('GETRANGE', key, 27, 39)) or 0
    if left > 0 and (extend ~= '1' or not claimed and left >= ttl) then
      return {'joined', request, other, left}
    end
    if left > 0 and not claimed and now + ttl <= ceiling then
      list(other)
      redis.call('PEXPIRE', key, ttl + grace)
      return {'joined', request, other, ttl}
    end
  end
end

-- Some of what has expired meanwhile; the rest goes with the index itself.
local past = redis.call('ZRANGEBYSCORE', index, '-inf', string.format('%d', now), 'LIMIT', 0, 50)
if #past > 0 then redis.call('ZREM', index, unpack(past)) end -- at most 50
list(id)
-- The record last: with it a retry takes all the rest for done.
redis.call('SET', record, value, 'PX', ttl + grace)
return {'stored', request}
