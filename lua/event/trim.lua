#!lua flags=allow-oom
-- trim: remove the oldest of what all groups have acknowledged from the outbox of a shard.
--
-- KEYS[1]  outbox    STREAM  {xx}:outbox
-- ARGV[1]  request   16 bytes, for the echo
-- ARGV[2]  gone      ms after which a consumer that holds nothing is forgotten
-- ARGV[3]  most      at most so many entries
--
-- Returns  {"trimmed", request, removed}   fewer than most: those were all
--
-- Why Lua: a group that comes meanwhile must not miss what is removed, nor one be told of it twice.
local outbox, request, gone, most = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
-- include: event/receivers
-- include: event/oldest

if redis.call('XLEN', outbox) == 0 and redis.call('EXISTS', outbox) == 0 then
  return {'trimmed', request, 0}
end
local lags, keep, length = receivers(outbox)
local past = {}
for at = 1, #lags, 2 do
  for _, flat in ipairs(redis.call('XINFO', 'CONSUMERS', outbox, lags[at])) do
    local consumer = named(flat)
    if consumer.pending == 0 and consumer.idle > gone then
      past[#past + 1] = {lags[at], consumer.name}
    end
  end
end
local upto = keep and end_of_oldest(outbox, keep, most)

-- They are forgotten first: what is trimmed is counted once.
for _, each in ipairs(past) do redis.call('XGROUP', 'DELCONSUMER', outbox, each[1], each[2]) end
if not upto then
  -- Nobody is left to be told.
  redis.call('UNLINK', outbox)
  return {'trimmed', request, length}
end
return {'trimmed', request, redis.call('XTRIM', outbox, 'MINID', upto)}
