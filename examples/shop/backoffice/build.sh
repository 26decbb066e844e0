# Stamps the page with the commit it was built from.
printf '%s (%s)\n' "$(cat page.txt)" "$(git rev-parse --short HEAD)" > page.built
