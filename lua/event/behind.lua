#!lua flags=no-writes
-- behind: how far behind the groups of a shard's outbox are.
--
-- KEYS[1]  outbox    STREAM  {xx}:outbox
-- ARGV[1]  request   16 bytes, for the echo
--
-- Returns  {"behind", request, keep, group, lag, …}   id of the first entry that not all have
--                                                     acknowledged, empty without a group; and for
--                                                     each group, how many it has to acknowledge
--
-- Why Lua: what the stream says and what its groups say must be of one moment.
local outbox, request = KEYS[1], ARGV[1]
-- include: event/receivers

local reply = {'behind', request, ''}
if redis.call('XLEN', outbox) == 0 and redis.call('EXISTS', outbox) == 0 then return reply end
local lags, keep = receivers(outbox)
reply[3] = keep or ''
for at = 1, #lags do reply[3 + at] = lags[at] end
return reply
