-- Adds up what the processes counted.
-- ARGV: worker and the number of its message (an old one is not counted again), then per name
-- (a JSON list) COUNTS counts. Without any it only tells.
-- Reply: {field, sum, ...}; a field is the name with the count's place at its end.
local COUNTS = 5
local SAID_MS = 86400000
local totals, said = SPACE .. 'counts', SPACE .. 'said:' .. (ARGV[1] or '')
if ARGV[1] and tonumber(ARGV[2]) > tonumber(redis.call('GET', said) or 0) then
  redis.call('SET', said, ARGV[2], 'PX', SAID_MS)
  for at = 3, #ARGV, COUNTS + 1 do
    for place = 1, COUNTS do
      if ARGV[at + place] ~= '0' then
        local field = string.sub(ARGV[at], 1, -2) .. ', ' .. (place - 1) .. ']'
        redis.call('HINCRBY', totals, field, ARGV[at + place])
      end
    end
  end
  redis.call('PEXPIRE', totals, SHARED_MS)
end
return ARGV[1] and {} or redis.call('HGETALL', totals)
