#!lua flags=allow-oom
-- clear: end a page of a namespace's pendings, and wake who waits for them.
--
-- KEYS[1]  index     ZSET    {xx}:pendings:<namespace digest>, ids by expiry
-- KEYS[2]  receipt   STRING  {xx}:rcpt:<request digest>, the ids that this request cleared
-- ARGV[1]  request   16 bytes, digest of the request id
-- ARGV[2]  limit     at most so many, 1 to 50
-- ARGV[3]  grace     ms a tombstone and an outcome live
-- ARGV[4]  by        who does it, for people: a-z, 0-9 and -
-- ARGV[5]  channel   where who waits listens
--
-- Returns  {"cleared", request, more, id...}   more: 1 if others are live
--
-- Why Lua: a page is cleared as one; and a retry must return the ids that the first call cleared.
local index, receipt = KEYS[1], KEYS[2]
local request, limit, grace, by, channel = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
-- The namespace's records and outcomes are named as its index is, in the same slot.
local base = index:match('^(.*:{%x%x}:)')
local records, outcomes = base .. 'pending:', base .. 'outcome:'
-- include: rights/must

local before = redis.call('GET', receipt)
if before then
  local reply = {'cleared', request, before:sub(1, 1) == '1' and 1 or 0}
  for id in before:sub(2):gmatch('%S+') do reply[#reply + 1] = id end
  return reply
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- What is past its end has nothing to clear; put takes it off the index, or the index ends with it.
local live = string.format('%d', now + 1)
local ids = redis.call('ZRANGEBYSCORE', index, live, '+inf', 'LIMIT', 0, limit)
if #ids == 0 then return {'cleared', request, 0} end

-- All are read before any is written; a key of another type fails the script here.
local values = {}
for at, id in ipairs(ids) do values[at] = redis.call('GET', records .. id) end
must_be_allowed('ZREM', index)
must_be_allowed('SET', receipt)
local more = redis.call('ZCOUNT', index, live, '+inf') > #ids and 1 or 0
local stamp = string.format('%013d', now)
local cleared = {}
for at, id in ipairs(ids) do
  local value, record = values[at], records .. id
  local offset = value and tonumber(value:match('^%d%d%d%d\n', 56))
  if offset and #value < offset + 48 then offset = nil end
  local lives = offset and value:sub(1, 8) == 'v1 live ' and redis.call('PTTL', record) > grace
  -- One that this request has cleared before it was refused the rest.
  local mine = offset and value:sub(1, 11) == 'v1 cleared '
    and value:sub(offset + 17, offset + 32) == request
  -- What is neither, or damaged, is only an index entry that was left behind.
  if lives or mine then
    redis.call('SET', outcomes .. id, 'v1 cleared   ' .. stamp .. ' ' .. by .. '\n', 'PX', grace)
    redis.call('SETRANGE', record, 3, 'cleared  ' .. value:sub(13, 40) .. ' ' .. stamp
      .. value:sub(55, offset + 16) .. request)
    redis.call('PEXPIRE', record, grace)
    cleared[#cleared + 1] = id
  end
end
redis.call('ZREM', index, unpack(ids)) -- at most 50
redis.call('SET', receipt, more .. table.concat(cleared, ' '), 'PX', grace)
if #cleared > 0 then redis.call('PUBLISH', channel, table.concat(cleared, ' ')) end
local reply = {'cleared', request, more}
for _, id in ipairs(cleared) do reply[#reply + 1] = id end
return reply
