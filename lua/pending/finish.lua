#!lua flags=allow-oom
-- finish: hand a live pending to exactly one caller, leave an outcome, and wake who waits.
--
-- KEYS[1]  record    STRING  {xx}:pending:<id>
-- KEYS[2]  outcome   STRING  {xx}:outcome:<id>
-- KEYS[3]  index     ZSET    {xx}:pendings:<namespace digest>, ids by expiry
-- ARGV[1]  request   16 bytes, digest of the request id
-- ARGV[2]  id        the pending
-- ARGV[3]  how       completed | cancelled
-- ARGV[4]  subject   16 bytes, digest of who does it; zeros: not said
-- ARGV[5]  by        who does it, for people: a-z, 0-9 and -
-- ARGV[6]  body      sealed, for who waits; may be empty
-- ARGV[7]  grace     ms a tombstone lives, and an outcome at the least
-- ARGV[8]  longest   ms an outcome lives at the most
-- ARGV[9]  channel   where who waits listens
--
-- Returns  {"finished", request, record, ago}   yours; on a retry with the same request id again, and
--                                              how many ms after the first time
--          {"already", request, how, at, by}    somebody else's
--          {"other_subject", request}           it waits for another; not consumed
--          {"expired", request}
--          {"absent", request}
--          {"corrupt", request}
--
-- Why Lua: one winner, and an outcome that is there before anybody is woken.
local record, outcome, index = KEYS[1], KEYS[2], KEYS[3]
local request, id, how, subject, by, body = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local grace, longest, channel = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9]
-- include: rights/must
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local value = redis.call('GET', record)
local before = redis.call('GET', outcome)
redis.call('ZSCORE', index, id)
if not value then return {'absent', request} end
local offset = tonumber(value:match('^%d%d%d%d\n', 56))
if not offset or value:sub(1, 3) ~= 'v1 ' or #value < offset + 48 then return {'corrupt', request} end

local state = value:sub(4, 12):match('^(%l+) *$')
local ended = state == 'completed' or state == 'cancelled' or state == 'cleared'
if not ended and state ~= 'live' then return {'corrupt', request} end
if ended then
  local at = tonumber(value:sub(42, 54)) or 0
  if value:sub(offset + 17, offset + 32) == request then
    return {'finished', request, value, now() - at}
  end
  local who = before and before:match('^v1 %l+ +%d+ ([%w-]*)') or ''
  return {'already', request, state, at, who}
end
local left = redis.call('PTTL', record) - grace
if left <= 0 then
  if left == -1 - grace then redis.call('PEXPIRE', record, grace) end
  return {'expired', request}
end
local bound = value:sub(offset + 33, offset + 48)
if bound ~= string.rep('\0', 16) and bound ~= subject then return {'other_subject', request} end

local stamp = string.format('%013d', now())
local word = string.format('%-9s', how)
-- An outcome that is there is true.
must_be_allowed('ZREM', index)
must_be_allowed('SETRANGE', record)
redis.call('SET', outcome, 'v1 ' .. word .. ' ' .. stamp .. ' ' .. by .. '\n' .. body,
  'PX', math.max(grace, math.min(left, longest)))
redis.call('ZREM', index, id)
redis.call('SETRANGE', record, 3, word .. value:sub(13, 40) .. ' ' .. stamp
  .. value:sub(55, offset + 16) .. request)
redis.call('PEXPIRE', record, grace)
redis.call('PUBLISH', channel, id)
return {'finished', request, value, 0}
