
-- What is kept, and whether that may not be all.
local doubted = may_have_forgotten()
return { redis.call('GET', KEYS[1]), doubted and 1 or 0 }
