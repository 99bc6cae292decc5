	
  select  1