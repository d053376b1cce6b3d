-- oldest: where the oldest few entries of a stream end. A part of scripts, not one.
--
-- Of those before `id`, which is above 0-0, it takes `most` at the most. XTRIM itself takes all of
-- them at once, or does not say exactly how many.
local function end_of_oldest(stream, id, most)
  local old = redis.call('XRANGE', stream, '-', '(' .. id, 'COUNT', most + 1)
  return old[most + 1] and old[most + 1][1] or id
end
