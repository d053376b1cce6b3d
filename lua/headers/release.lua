#!lua flags=allow-oom
-- release: give a claimed flow back, to be claimed again. One that is another's is left alone.
--
-- KEYS[1]  claim     STRING  {xx}:claim:<id>, who has claimed it
-- ARGV[1]  request   16 bytes, digest of the request that claimed it
--
-- Returns  {"released", request}
--
-- Why Lua: only its own claim is taken back.
local claim, request = KEYS[1], ARGV[1]

if redis.call('GET', claim) == request then redis.call('UNLINK', claim) end
return {'released', request}
