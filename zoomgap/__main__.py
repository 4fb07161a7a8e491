from zoomgap.cli import main

main()
