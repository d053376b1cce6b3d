#!lua flags=allow-oom
-- take: hand a live state to exactly one caller; keep its receipt for the grace.
--
-- KEYS[1]  record    STRING  {xx}:pkce:<digest of state>
-- ARGV[1]  request   16 bytes, digest of the taker's request id
-- ARGV[2]  grace     ms a receipt lives; a live record has more than this left
--
-- Returns  {"taken", request, record, ago}   yours; on a retry with the same request id again, and
--                                           how many ms after the first time
--          {"already", request, at}          somebody else's, at ms since 1970
--          {"expired", request}              past its life, still in its grace
--          {"absent", request}               never existed, or long gone
--          {"corrupt", request}              not a record of this layout; left as it is
--
-- Why Lua: GETDEL loses the record when its reply is lost, and cannot tell a replay from a typo.
local record, request, grace = KEYS[1], ARGV[1], ARGV[2]
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local value = redis.call('GET', record)
if not value then return {'absent', request} end

-- The head is 60 bytes wide: version, state, created, ceiling, taken, offset of the binary part.
local state, offset = value:sub(1, 13), tonumber(value:match('^%d%d%d%d\n', 56))
-- The binary part begins behind the end of the display line, and has three digests at least.
if not offset or offset < 61 or value:byte(offset) ~= 10 or #value < offset + 48 then
  return {'corrupt', request}
end

-- State before life: a receipt lives within the grace.
if state == 'v1 taken     ' then
  local taker, at = value:sub(offset + 17, offset + 32), tonumber(value:sub(42, 54))
  if not at then return {'corrupt', request} end
  if taker == request then return {'taken', request, value, now() - at} end
  return {'already', request, at}
end
if state ~= 'v1 live      ' then return {'corrupt', request} end

local left = redis.call('PTTL', record)
if left <= tonumber(grace) then
  -- No life at all was never written by this library: give it an end.
  if left == -1 then redis.call('PEXPIRE', record, grace) end
  return {'expired', request}
end

-- From the state to the taker in one piece: a second SETRANGE costs more than the bytes between.
redis.call('SETRANGE', record, 3, 'taken    ' .. value:sub(13, 41) .. string.format('%013d', now())
  .. value:sub(55, offset + 16) .. request)
redis.call('PEXPIRE', record, grace)
return {'taken', request, value, 0}
