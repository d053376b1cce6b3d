#!lua flags=allow-oom
-- trim: remove what all groups have acknowledged from the outbox of a shard.
--
-- KEYS[1]  outbox    STREAM  {xx}:outbox
-- ARGV[1]  request   16 bytes, for the echo
-- ARGV[2]  gone      ms after which a consumer that holds nothing is forgotten
--
-- Returns  {"trimmed", request, removed, group, lag, …}   for each group, what it has to acknowledge
--
-- Why Lua: a group that comes meanwhile must not miss what is removed, nor one be told of it twice.
local outbox, request, gone = KEYS[1], ARGV[1], tonumber(ARGV[2])

local function named(flat)
  local fields = {}
  for at = 1, #flat, 2 do fields[flat[at]] = flat[at + 1] end
  return fields
end
local reply = {'trimmed', request, 0}
if redis.call('XLEN', outbox) == 0 and redis.call('EXISTS', outbox) == 0 then return reply end
local stream = named(redis.call('XINFO', 'STREAM', outbox))
local dropped = stream['entries-added'] - stream.length
local keep, keep_ms, keep_seq
local past = {}
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', outbox)) do
  local group = named(flat)
  -- From here on it has not acknowledged all: the first that is held, or what comes after the last.
  local from = group.pending > 0 and redis.call('XPENDING', outbox, group.name)[2]
  local ms, seq = (from or group['last-delivered-id']):match('^(%d+)-(%d+)$')
  ms, seq = tonumber(ms), tonumber(seq)
  if not from then
    seq = seq + 1
    from = string.format('%d-%d', ms, seq)
  end
  if not keep or ms < keep_ms or ms == keep_ms and seq < keep_seq then
    keep, keep_ms, keep_seq = from, ms, seq
  end
  local read = math.max(group['entries-read'] or dropped, dropped)
  reply[#reply + 1] = group.name
  reply[#reply + 1] = stream['entries-added'] - read + group.pending
  for _, each in ipairs(redis.call('XINFO', 'CONSUMERS', outbox, group.name)) do
    local consumer = named(each)
    if consumer.pending == 0 and consumer.idle > gone then
      past[#past + 1] = {group.name, consumer.name}
    end
  end
end

-- They are forgotten first: what is trimmed is counted once.
for _, each in ipairs(past) do redis.call('XGROUP', 'DELCONSUMER', outbox, each[1], each[2]) end
if keep then
  reply[3] = redis.call('XTRIM', outbox, 'MINID', keep)
else
  reply[3] = stream.length
  redis.call('UNLINK', outbox)
end
return reply
