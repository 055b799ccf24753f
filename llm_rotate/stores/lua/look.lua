-- How limits stand. ARGV: per bucket its name, its limits, its day (as in admit.lua).
-- Reply: per bucket, see rooms_of.
local found = {}
for at = 1, #ARGV, 3 do
  local name = ARGV[at]
  local bucket = bucket_of(name, ARGV[at + 1])
  if ARGV[at + 2] ~= '' and seconds >= bucket.day_ends then
    turn_day(bucket, name, ARGV[at + 2])
  end
  found[#found + 1] = rooms_of(bucket, name)
end
keep_buckets()
return found
